"""Metrics of transcripts, worked by hand and held to jiwer."""

import json

import jiwer
import numpy as np
import pandas as pd
import pytest

from pipeline_lib.metrics.words import normalise_words
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.transcription.quality import loops, measure, report


def manifest(splits: list[str], references: list[str | None], notice: str = "") -> Manifest:
    ids = [f"u{i:03d}" for i in range(len(splits))]
    frame = pd.DataFrame({"utterance_id": ids, "split": splits, "speaker": "s"})
    frame["reference_text"] = pd.Series(references, dtype=object)
    return Manifest(frame, "tiny", ("happy", "sad"), notice=notice)


def test_rates_and_counts_by_split():
    corpus = manifest(["test", "test", "train", "train"], ["one two three", None, "four five", "six"])
    metrics = measure(corpus, ["one too three", "", "four", "six six six six six six six six"])
    # test: 1 substitution in 3 words; train: 1 deletion and 7 insertions in 3 words
    assert metrics["test"] == {
        "utterances": 2,
        "with_reference": 1,
        "empty": 1,
        "looping": 0,
        "substitutions": 1,
        "deletions": 0,
        "insertions": 0,
        "words": 3,
        "wer": pytest.approx(1 / 3),
        "unit": "words",
    }
    assert metrics["train"] == {
        "utterances": 2,
        "with_reference": 2,
        "empty": 0,
        "looping": 1,
        "substitutions": 0,
        "deletions": 1,
        "insertions": 7,
        "words": 3,
        "wer": pytest.approx(8 / 3),
        "unit": "words",
    }
    kinds = {"substitutions": 1, "deletions": 1, "insertions": 7, "words": 6}
    rate = {"wer": pytest.approx(9 / 6), "unit": "words", **kinds}
    assert metrics["all"] == {"utterances": 4, "with_reference": 3, "empty": 1, "looping": 1, **rate}


def test_the_rate_equals_jiwers():
    random = np.random.default_rng(3)
    words = np.array(["red", "blue", "don't", "tree", "river"])
    references = [" ".join(random.choice(words, random.integers(1, 9))) for _ in range(60)]
    texts = [" ".join(random.choice(words, random.integers(0, 9))) for _ in range(60)]
    metrics = measure(manifest(["test"] * 60, references), texts)
    assert metrics["test"]["wer"] == pytest.approx(jiwer.wer(references, texts), abs=1e-15)


def test_what_was_not_transcribed_is_counted_and_not_measured(tmp_path, capsys):
    corpus = manifest(["test", "test", "dev"], ["one two", "three four", "five"])
    metrics = measure(corpus, ["one", "three four", "five"], np.array([True, False, True]))
    assert metrics["without_audio"] == 1
    assert metrics["test"] == {
        "utterances": 1,
        "with_reference": 1,
        "empty": 0,
        "looping": 0,
        "substitutions": 0,
        "deletions": 1,
        "insertions": 0,
        "words": 2,
        "wer": 0.5,
        "unit": "words",
    }
    assert metrics["dev"]["wer"] == 0
    report(metrics, tmp_path / "m.json")
    assert (
        "test: 1 utterances, WER 50.00% [—] (0 substitutions, 1 deletions, 0 insertions in 2) over 1"
        in capsys.readouterr().out
    )


def test_capitals_and_punctuation_do_not_count():
    assert measure(manifest(["test"], ["Well, don’t GO!"]), ["well don't go"])["test"]["wer"] == 0
    assert normalise_words("Well, don’t GO!") == "well don't go"


def test_without_reference_transcripts_there_is_no_rate_rather_than_a_null():
    metrics = measure(manifest(["test", "dev"], [None, "..."]), ["something", "spoken"])
    assert "wer" not in metrics["test"] and "wer" not in metrics["dev"] and "wer" not in metrics["all"]


def test_a_rate_by_characters_is_named_as_such(tmp_path, capsys):
    metrics = measure(manifest(["test", "train"], ["今天天气很好", "one two"]), ["今天天气不好", "one two"])
    assert metrics["test"]["wer"] == pytest.approx(1 / 6) and metrics["test"]["unit"] == "characters"
    assert (metrics["train"]["unit"], metrics["all"]["unit"]) == ("words", "words and characters")
    report(metrics, tmp_path / "transcription.json")
    errors = "1 substitutions, 0 deletions, 0 insertions in 6"
    assert f"test: 1 utterances, error rate in characters 16.67% [—] ({errors}) over 1" in capsys.readouterr().out


def test_the_notice_goes_with_the_numbers(tmp_path, capsys):
    metrics = measure(manifest(["test"], ["one two"], notice="synthetic speech"), ["one"])
    report(metrics, tmp_path / "metrics" / "transcription.json")
    assert json.loads((tmp_path / "metrics" / "transcription.json").read_text()) == metrics
    assert metrics["notice"] == "synthetic speech"
    output = capsys.readouterr().out
    assert (
        output.startswith("synthetic speech\n")
        and "WER 50.00% [—] (0 substitutions, 1 deletions, 0 insertions in 2) over 1" in output
    )


@pytest.mark.parametrize(
    "text",
    [
        "no no no no no no no no",
        "i am i am i am i am",
        "well the cat sat the cat sat the cat sat the cat sat down",
        "a b c d e f a b c d e f a b c d e f a b c d e f",
        "No, no! No... no no no no no.",
        "谢谢" * 12,
        "ありがとうございました。" * 6,
        "웃음소리" * 10,
        "ครับ" * 4,
        "ຂອບໃຈ" * 4,
        "អរគុណ" * 4,
        "謝謝 觀看，" * 4,  # blanks and punctuation do not hide it
        "nononononononononononono",
        "well " + "so" * 20,
        "a" * 24,
        "ha" * 18,  # nearly four seconds of laughter
        "哈" * 24,
        "ㅋ" * 24,
    ],
)
def test_a_decoder_that_does_not_stop_loops(text):
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no no no no no no no",  # seven words
        "i am i am i am i",  # three and a half times
        "the cat sat the cat sat the cat sat down",  # three times
        "a b c d e f g a b c d e f g a b c d e f g a b c d e f g",  # a stretch of seven
        "no no no no yes no no no no",
        "hahahaha",
        "ahahahahahahahahahahahahahah",  # laughter
        "ha ha ha ha ha ha ha ha ha ha",
        "哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈",
        "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
        "好好好好好好好好",
        "いやいやいやいやいや",
        "네 네 네 네 네 네 네",
        "นานานานา",
        "ありがとうございました。" * 3,
        "nooooooooooooo",
    ],
)
def test_speech_that_repeats_itself_a_little_does_not_loop(text):
    assert not loops(text)
