"""MELD as a tiny corpus in its native layout."""

import re

import pytest

from pipeline_lib.corpus import meld
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError

MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


def meld_line(text, emotion, dialogue, utterance, speaker="Joey"):
    return f'1,"{text}",{speaker},{emotion},neutral,{dialogue},{utterance},1,1,"00:16:16,059","00:16:21,731"\n'


def meld_at(root):
    tables = {
        "train": meld_line("How, you doin?", "joy", 0, 0) + meld_line("What?", "surprise", 125, 3),
        "dev": meld_line("No.", "anger", 0, 0) + meld_line("Gone.", "anger", 110, 7),
        "test": meld_line("Yes.", "joy", 0, 0, "The Interviewer") + meld_line("On and on", "fear", 38, 4),
    }  # fmt: skip
    for split, rows in tables.items():
        (root / f"{split}_sent_emo.csv").write_text(MELD + rows)


def test_meld_without_any_sound_is_text_only(tmp_path, settings):
    meld_at(tmp_path)
    frame = meld.read(tmp_path, settings("meld"))
    assert frame["audio"].isna().all() and frame["reject"].isna().all()
    assert frame[["utterance_id", "split", "speaker", "gender", "emotion"]].values.tolist()[::2] == [
        ["train_dia0_utt0", "train", "Joey", "male", "happiness"],
        ["dev_dia0_utt0", "dev", "Joey", "male", "anger"],
        ["test_dia0_utt0", "test", "The Interviewer", None, "happiness"],
    ]
    assert frame["reference_text"][0] == "How, you doin?"
    assert frame[["dialogue", "turn"]].values.tolist()[:3] == [["train_dia0", 0], ["train_dia125", 3], ["dev_dia0", 0]]


def test_meld_by_sentiment_has_the_corpus_own_three_labels(tmp_path, settings):
    meld_at(tmp_path)
    path = tmp_path / "dev_sent_emo.csv"
    path.write_text(path.read_text().replace("anger,neutral", "anger,negative"))
    with pytest.raises(ParameterError, match=r"labels is null and meld\.label sentiment, expected labels: set them to"):
        settings("meld", meld={"label": "sentiment"})
    named = settings("meld", meld={"label": "sentiment"}, labels=["negative", "neutral", "positive"])
    frame = meld.read(tmp_path, named)
    assert frame["emotion"].tolist() == ["neutral", "neutral", "negative", "negative", "neutral", "neutral"]
    path.write_text(path.read_text().replace("anger,negative", "anger,sad"))
    frame = meld.read(tmp_path, named)
    assert frame["reject"].str.contains("Sentiment 'sad' is unknown, expected one of").sum() == 2


def test_meld_with_extracted_sound_quarantines_the_four_known_clips_and_what_is_missing(tmp_path, say, settings):
    meld_at(tmp_path)
    for folder in ("train_splits", "dev_splits_complete", "output_repeated_splits_test"):
        say(tmp_path / folder / "dia0_utt0.wav")
        (tmp_path / folder / "dia0_utt0.mp4").touch()
    say(tmp_path / "output_repeated_splits_test" / "dia38_utt4.wav")
    say(tmp_path / "train" / "dia1_utt1.flac")  # another usual name of the folder
    with (tmp_path / "train_sent_emo.csv").open("a") as file:
        file.write(meld_line("Lost", "fear", 5, 5) + meld_line("Go.", "anger", 1, 1))
    collected = collect(settings("meld", labels=["anger", "happiness"]))
    assert collected.manifest.frame[["utterance_id", "audio", "video"]].values.tolist() == [
        ["dev_dia0_utt0", "dev_splits_complete/dia0_utt0.wav", "dev_splits_complete/dia0_utt0.mp4"],
        ["test_dia0_utt0", "output_repeated_splits_test/dia0_utt0.wav", "output_repeated_splits_test/dia0_utt0.mp4"],
        ["train_dia0_utt0", "train_splits/dia0_utt0.wav", "train_splits/dia0_utt0.mp4"],
        ["train_dia1_utt1", "train/dia1_utt1.flac", None],
    ]
    assert collected.quarantine[["utterance_id", "reason"]].values.tolist() == [
        ["dev_dia110_utt7", "known bad: the corpus lacks the clip"],
        ["test_dia38_utt4", "known bad: the clip runs on for minutes"],
        ["train_dia125_utt3", "known bad: the clip is broken"],
        ["train_dia5_utt5", "missing: does not exist"],
    ]
    assert "same speakers in train, dev and test" in collected.manifest.notice


def test_meld_clips_without_sound_say_how_to_extract_it(tmp_path, settings):
    meld_at(tmp_path)
    (tmp_path / "train_splits").mkdir()
    (tmp_path / "train_splits" / "dia0_utt0.mp4").touch()
    with pytest.raises(InputError, match=r"ffmpeg -i train_splits/dia0_utt0\.mp4 .* train_splits/dia0_utt0\.wav"):
        meld.read(tmp_path, settings("meld"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (meld_line("Hm", "bliss", 1, 1), r"line 4: Emotion 'bliss' is unknown"),
        ('2,"Hm, she said "no" there",Joey,joy,neutral,1,1,1,1,"0","0"\n', "line 4: not CSV"),
        (meld_line("Hm", "joy", 1, 1).replace('"Hm"', "Hm, well"), "line 4: 12 cells, the header has 11"),
        (meld_line("Hm", "joy", "x", 1), r"line 4: Dialogue_ID is 'x', expected a whole number"),
    ],
)
def test_a_meld_line_that_cannot_be_read_costs_its_utterance_alone(tmp_path, settings, row, message):
    meld_at(tmp_path)
    with (tmp_path / "dev_sent_emo.csv").open("a") as file:
        file.write(row)
    frame = meld.read(tmp_path, settings("meld"))
    (bad,) = frame[frame["reject"].notna()].to_dict("records")
    assert len(frame) == 7 and bad["split"] == "dev" and re.match(f"malformed: .*{message}", bad["reject"])


def test_a_meld_table_missing_is_named(tmp_path, settings):
    meld_at(tmp_path)
    (tmp_path / "test_sent_emo.csv").unlink()
    with pytest.raises(InputError, match=r"test_sent_emo\.csv does not exist"):
        meld.read(tmp_path, settings("meld"))


def test_a_quote_that_swallows_other_lines_of_meld_stops(tmp_path, settings):
    meld_at(tmp_path)
    with (tmp_path / "dev_sent_emo.csv").open("a") as file:
        file.write('2,"Hm,Joey,joy,neutral,1,1,1,1,0,0\n' + meld_line("Go", "joy", 1, 2) * 3)
    with pytest.raises(InputError, match=r"dev_sent_emo\.csv, line \d+: (not CSV|\d+ cells)"):
        meld.read(tmp_path, settings("meld"))


def test_a_clip_of_meld_whose_sound_was_not_extracted_is_not_called_missing(tmp_path, say, settings):
    meld_at(tmp_path)
    (tmp_path / "train_splits").mkdir()
    (tmp_path / "train_splits" / "dia0_utt0.mp4").touch()
    say(tmp_path / "dev_splits_complete" / "dia0_utt0.wav")
    frame = meld.read(tmp_path, settings("meld"))
    assert frame["reject"][0] == "not extracted: train_splits/dia0_utt0.mp4 has no sound beside it"
