"""Whisper-normalised texts, and the rate beside the raw one."""

import doctest

import jiwer
import numpy as np
import pandas as pd
import pytest

from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.transcription import normalisation
from pipeline_lib.transcription.normalisation import normaliser_of, whisper_units
from pipeline_lib.transcription.quality import measure, report


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I don't know", "I do not know"),
        ("Mr. Brown", "mister Brown"),
        ("2 of them", "two of them"),
        ("[laughter] yes <noise> {breath}", "yes"),
        ("um, yes (he coughs)", "yes"),
        ("my favourite colour", "my favorite color"),
        ("we're", "we are"),
        ("twenty-one", "21"),
    ],
)
def test_what_is_the_same_to_whisper_is_the_same_here(one, other):
    assert whisper_units(one, "english") == whisper_units(other, "english") != []


def test_other_languages_lose_punctuation_and_keep_their_words():
    assert whisper_units("Zażółć, gęślą jaźń! [śmiech]", "basic") == ["zażółć", "gęślą", "jaźń"]
    assert whisper_units("今天, two", "basic") == ["今", "天", "two"]


def test_the_normaliser_is_that_of_the_engines_language():
    def of(**values):
        return normaliser_of(TranscriptionSettings.parse(values, "transcription"))

    assert of(engine="reference") is None
    assert of(engine="canary") == of(engine="whisper") == "english"
    assert of(engine="canary", canary={"source_language": "de"}) == of(engine="whisper", whisper={"language": None})


def test_both_rates_stand_in_each_split_with_their_interval_and_agree_with_jiwer(tmp_path, capsys):
    generator = np.random.default_rng(5)
    words = ["i", "don't", "do", "not", "know", "two", "2", "mr", "colour"]
    references, texts = ([" ".join(generator.choice(words, 6)) for _ in range(60)] for _ in range(2))
    frame = pd.DataFrame({"reference_text": references, "split": ["dev", "test"] * 30})
    frame["speaker"] = [f"s{i % 7}" for i in range(60)]
    metrics = measure(Manifest(frame, "c", ("anger",)), texts, None, "english")
    for split, rows in (("test", range(1, 60, 2)), ("all", range(60))):
        for values, normalise in ((metrics[split], str.split), (metrics[split]["whisper_normalised"], english)):
            pairs = [[" ".join(normalise(each[i])) for i in rows] for each in (references, texts)]
            theirs = jiwer.process_words(*pairs)
            assert values["wer"] == pytest.approx(theirs.wer, abs=1e-15)
            kinds = ("substitutions", "deletions", "insertions")
            assert sum(values[kind] for kind in kinds) == sum(getattr(theirs, kind) for kind in kinds)
            assert 0 < values["wer_lo"] < values["wer"] < values["wer_hi"]
    report(metrics, tmp_path / "m.json")
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("test: ")]
    assert "Whisper-normalised (english) " in line and line.count("substitutions") == 2


def english(text):
    return whisper_units(text, "english")


def test_the_examples_run():
    assert doctest.testmod(normalisation).failed == 0
