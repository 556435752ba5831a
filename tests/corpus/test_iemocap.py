"""IEMOCAP as a tiny corpus in its native layout."""

import re

import pytest

from pipeline_lib.corpus import iemocap
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.tables import folds
from tests.corpus.licensed_layouts import iemocap_at


def test_iemocap_speaker_is_the_turns_letter_not_the_files(tmp_path, say, settings):
    iemocap_at(tmp_path, say, sessions=1)
    frame = iemocap.read(tmp_path, settings("iemocap"))
    assert frame[["utterance_id", "speaker", "gender", "emotion"]].values.tolist()[:3] == [
        ["Ses01F_impro01_F000", "Ses01F", "female", "neutral"],
        ["Ses01F_impro01_M000", "Ses01M", "male", "excited"],
        ["Ses01F_impro01_F001", "Ses01F", "female", "X"],
    ]
    first = frame.iloc[0]
    assert first["audio"] == "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert (first["valence"], first["arousal"], first["dominance"]) == (2.5, 2.0, 3.5)
    assert first["votes"] == {"neutral": 2, "anger": 1}  # the actor's own C-F1 is no vote
    assert frame["reference_text"].tolist()[:2] == ["Excuse me.", None]
    assert set(frame["dialogue"]) == {"Ses01F_impro01"} and frame["turn"].tolist() == [0, 1, 2, 3, 4, 5]


def test_iemocap_turns_are_in_the_order_of_time_wherever_their_lines_stand(tmp_path, say, settings):
    iemocap_at(tmp_path, say, sessions=1)
    path = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    path.write_text(path.read_text().replace("[6.2901 - 8.2357]", "[13.2 - 13.9]"))
    frame = iemocap.read(tmp_path, settings("iemocap"))
    assert frame["turn"].tolist() == [2, 0, 1, 3, 4, 5]


def test_iemocap_by_custom_has_four_classes_and_keeps_sessions_whole(tmp_path, say, settings):
    iemocap_at(tmp_path, say)
    manifest = collect(settings("iemocap", dev_bal={"per_class": 1})).manifest
    assert manifest.labels == ("anger", "happiness", "neutral", "sadness")
    assert manifest.attribute_scale == (1.0, 5.0)
    frame = manifest.frame
    session = frame["utterance_id"].str[:5]
    assert frame.groupby(session)["split"].unique().map(list).tolist() == [["train"]] * 3 + [["dev"], ["test"]]
    emotions = ("neutral", "happiness", "X", "anger", "sadness", "frustration")
    assert frame["emotion"].value_counts().to_dict() == dict.fromkeys(emotions, 5)
    assert manifest.mask("dev_filt").sum() == 4  # neither X nor frustration


def test_iemocap_with_six_classes_keeps_excited_apart_and_leaves_one_speaker_out(tmp_path, say, settings):
    iemocap_at(tmp_path, say)
    labels = ["anger", "excited", "frustration", "happiness", "neutral", "sadness"]
    with pytest.raises(InputError, match="label 'happiness' is on no utterance"):  # nobody is happy here
        collect(settings("iemocap", labels=labels))
    labels.remove("happiness")
    manifest = collect(settings("iemocap", labels=labels, split={"method": "folds", "folds": {"k": "loso"}})).manifest
    assert (manifest.frame["emotion"] == "excited").sum() == 5
    fold = folds.fold_of(manifest)
    assert sorted(set(zip(manifest.frame["speaker"], fold, strict=True))) == [
        (f"Ses0{i // 2 + 1}{'FM'[i % 2]}", i) for i in range(10)
    ]


@pytest.mark.parametrize("by", ["speakers", "column"])
def test_iemocaps_five_folds_are_its_sessions(tmp_path, say, settings, by):
    iemocap_at(tmp_path, say)
    manifest = collect(settings("iemocap", split={"method": "folds", "folds": {"k": 5, "by": by}})).manifest
    fold = folds.fold_of(manifest)
    session = manifest.frame["utterance_id"].str[:5]
    assert len(set(zip(session, fold, strict=True))) == len(set(session)) == len(set(fold)) == 5
    seen = folds.view(manifest, 0).frame
    assert set(seen["split"]) == {"train", "dev", "test"}
    if by == "speakers":  # the development part is a session too
        assert seen.groupby(session)["split"].nunique().eq(1).all()
    else:
        assert sorted(set(zip(session, fold, strict=True))) == [(f"Ses0{i + 1}", i) for i in range(5)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tneu\t", "\tmeh\t", r"line 3: label 'meh' is unknown"),
        ("[2.5000, 2.0000, 3.5000]", "[2.5000, 2.0000]", r"line 3: attributes \[2\.5000, 2\.0000\], expected"),
        ("2.5000, 2.0000, 3.5000", "2.5000, low, 3.5000", r"line 3: activation is 'low', expected a number"),
        ("Anger;\t()", "Angor;\t()", r"line 5: category 'angor' is unknown"),
        ("[6.2901 - 8.2357]", "[6.2901 8.2357]", r"line 3: .*expected \[start - end\]"),
    ],
)
def test_an_iemocap_line_that_cannot_be_read_costs_its_turn_alone(tmp_path, say, settings, old, new, message):
    iemocap_at(tmp_path, say, sessions=1)
    path = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    frame = iemocap.read(tmp_path, settings("iemocap"))
    (bad,) = frame[frame["reject"].notna()].to_dict("records")
    assert len(frame) == 6 and bad["utterance_id"] == "Ses01F_impro01_F000"
    assert bad["audio"] == "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    assert re.match(f"malformed: Session1/dialog/EmoEvaluation/.*{message}", bad["reject"])


def test_iemocaps_marks_of_events_are_no_words(tmp_path, say, settings):
    iemocap_at(tmp_path, say, sessions=1)
    path = tmp_path / "Session1" / "dialog" / "transcriptions" / "Ses01F_impro01.txt"
    path.write_text(
        "Ses01F_impro01_F000 [006.2901-008.2357]: [LAUGHTER] Well I don't know. [BREATHING]\n"
        "Ses01F_impro01_M000 [010.0100-011.3925]: [GARBAGE]\n"
        "Ses01F_impro01_F001 [012.0100-013.3925]: no[LIPSMACK] no\n"
        "Ses01F_impro01_F002 no time\n"
    )
    frame = iemocap.read(tmp_path, settings("iemocap"))
    texts = dict(zip(frame["utterance_id"], frame["reference_text"], strict=True))
    assert texts["Ses01F_impro01_F000"] == "Well I don't know."
    assert texts["Ses01F_impro01_M000"] == "" and texts["Ses01F_impro01_F001"] == "no no"
    assert frame.attrs["notes"] == ["4 marks of events such as [LAUGHTER] are left out of the reference texts."]
    (bad,) = frame["reject"].dropna()
    assert bad.startswith("malformed: Session1/dialog/transcriptions/Ses01F_impro01.txt, line 4: 'Ses01F_impro01_F002")
