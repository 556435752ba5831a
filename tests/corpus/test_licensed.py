"""MSP-Podcast, IEMOCAP and MELD, each as a tiny corpus in its native layout."""

import json
import re

import numpy as np
import pytest

from pipeline_lib.corpus import iemocap, meld, msp_podcast
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"


def msp(root, rows, consensus="labels_consensus.csv"):
    (root / "Labels").mkdir(exist_ok=True)
    (root / "Labels" / consensus).write_text(HEADER + rows)


def test_msp_podcast_of_a_recent_version(tmp_path, say, settings):
    msp(
        tmp_path,
        "MSP-PODCAST_0001_0001.wav,A,5.2,2.1,4.4,7,Male,Train\n"
        "MSP-PODCAST_0001_0002.wav,X,4.0,4.0,4.0,Unknown,Female,Development\n"
        "MSP-PODCAST_0002_0001.wav,O,3.0,3.5,4.5,9,Female,Test1\n"
        "MSP-PODCAST_0002_0002.wav,U,3.0,3.5,4.5,9,Female,Test2\n",
    )
    (tmp_path / "Partitions.txt").write_text("Train; MSP-PODCAST_0001_0001.wav\nTest3; MSP-PODCAST_test3_0001.wav\n\n")
    (tmp_path / "Transcripts").mkdir()
    (tmp_path / "Transcripts" / "MSP-PODCAST_0001_0001.txt").write_text("how dare\nyou\n")
    say(tmp_path / "Audios" / "MSP-PODCAST_0001_0001.flac")
    (tmp_path / "Labels" / "labels_detailed.json").write_text(
        json.dumps(
            {
                "MSP-PODCAST_0001_0001.wav": {
                    "WORKER1": {"EmoClass_Major": "Angry", "EmoVal": "2"},
                    "WORKER2": {"EmoClass_Major": "Angry", "EmoVal": "1"},
                    "WORKER3": {"EmoClass_Major": "Other-annoyed", "EmoVal": "3"},
                }
            }
        )
    )
    frame = msp_podcast.read(tmp_path, settings("msp_podcast")).sort_values("utterance_id")
    columns = ["utterance_id", "audio", "split", "speaker", "gender", "emotion", "reference_text"]
    assert frame[columns].values.tolist() == [
        ["MSP-PODCAST_0001_0001", "Audios/MSP-PODCAST_0001_0001.flac", "train", "7", "male", "anger", "how dare you"],
        ["MSP-PODCAST_0001_0002", "Audios/MSP-PODCAST_0001_0002.wav", "dev", None, "female", "X", None],
        ["MSP-PODCAST_0002_0001", "Audios/MSP-PODCAST_0002_0001.wav", "test", "9", "female", "O", None],
        ["MSP-PODCAST_0002_0002", "Audios/MSP-PODCAST_0002_0002.wav", "test2", "9", "female", "surprise", None],
        ["MSP-PODCAST_test3_0001", "Audios/MSP-PODCAST_test3_0001.wav", "test3", None, None, None, None],
    ]
    assert frame[["arousal", "valence", "dominance"]].iloc[0].tolist() == [5.2, 2.1, 4.4]
    assert np.isnan(frame["arousal"].iloc[4])
    assert frame["votes"].iloc[0] == {"anger": 2, "O": 1}


def test_msp_podcast_1_8_spells_two_things_differently(tmp_path, settings):
    msp(tmp_path, "MSP-PODCAST_0001.wav,H,5,5,5,1,Male,Validation\n", "labels_concensus.csv")
    frame = msp_podcast.read(tmp_path, settings("msp_podcast"))
    assert frame[["split", "emotion"]].values.tolist() == [["dev", "happiness"]]


def test_msp_podcast_votes_of_labels_txt(tmp_path, settings):
    msp(tmp_path, "a.wav,H,5,5,5,1,Male,Train\nb.wav,N,5,5,5,1,Male,Train\n")
    (tmp_path / "Labels" / "labels.txt").write_text(
        "a.wav; H; A:5.0; V:5.0; D:5.0;\n"
        "WORKER00001; Happy; Happy,Amused; A:5.0; V:6.0; D:4.0;\n"
        "WORKER00002; Neutral; Neutral; A:4.0; V:4.0; D:4.0;\n"
        "\n"
        "b.wav; N; A:4.0; V:4.0; D:4.0;\n"
        "WORKER00001; Contempt; Contempt; A:5.0; V:6.0; D:4.0;\n"
    )
    frame = msp_podcast.read(tmp_path, settings("msp_podcast"))
    assert frame["votes"].tolist() == [{"happiness": 1, "neutral": 1}, {"contempt": 1}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a.wav,Q,5,5,5,1,Male,Train\n",
            r"labels_consensus\.csv, line 2: EmoClass 'Q' is unknown, expected one of \['A'",
        ),
        ("a.wav,A,high,5,5,1,Male,Train\n", r"line 2: EmoAct is 'high', expected a number"),
        ("a.wav,A,5,5,5,1,Male,Dev\n", r"line 2: Split_Set 'dev' is unknown"),
        ("a.wav,A,5,5,1,Male,Train\n", r"line 2: 7 cells, the header has 8"),
    ],
)
def test_msp_podcast_labels_that_cannot_be_read_stop_with_line_and_value(tmp_path, settings, row, message):
    msp(tmp_path, row)
    with pytest.raises(InputError, match=message):
        msp_podcast.read(tmp_path, settings("msp_podcast"))


def test_msp_podcast_labels_missing(tmp_path, settings):
    (tmp_path / "Audios").mkdir()
    with pytest.raises(InputError, match="has no labels_consensus.csv"):
        msp_podcast.read(tmp_path, settings("msp_podcast"))


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{n}F_impro01_F000\tneu\t[2.5000, 2.0000, 3.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t()
C-F1:\tFrustration;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes0{n}F_impro01_M000\texc\t[4.0000, 4.0000, 2.5000]
C-E2:\tExcited;\t()
[12.0100 - 13.3925]\tSes0{n}F_impro01_F001\txxx\t[2.0000, 2.0000, 2.5000]
[14.0100 - 15.3925]\tSes0{n}F_impro01_F002\tang\t[2.0000, 2.0000, 2.5000]
[16.0100 - 17.3925]\tSes0{n}F_impro01_M001\tsad\t[2.0000, 2.0000, 2.5000]
[18.0100 - 19.3925]\tSes0{n}F_impro01_M002\tfru\t[2.0000, 2.0000, 2.5000]
"""
TURNS = ("F000", "M000", "F001", "F002", "M001", "M002")


def iemocap_at(root, say, sessions=5):
    for n in range(1, sessions + 1):
        dialog = root / f"Session{n}" / "dialog"
        for folder in ("EmoEvaluation/Categorical", "transcriptions"):
            (dialog / folder).mkdir(parents=True)
        (dialog / "EmoEvaluation" / f"Ses0{n}F_impro01.txt").write_text(EVALUATION.format(n=n))
        (dialog / "EmoEvaluation" / "Categorical" / f"Ses0{n}F_impro01_e2_cat.txt").write_text("not to be read")
        (dialog / "transcriptions" / f"Ses0{n}F_impro01.txt").write_text(
            f"Ses0{n}F_impro01_F000 [006.2901-008.2357]: Excuse me.\nM: [laughs]\n"
        )
        for turn in TURNS:
            name = f"Ses0{n}F_impro01"
            say(root / f"Session{n}" / "sentences" / "wav" / name / f"{name}_{turn}.wav")


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


def test_iemocap_by_custom_has_four_classes_and_keeps_sessions_whole(tmp_path, say, settings):
    iemocap_at(tmp_path, say)
    manifest = collect(settings("iemocap", split={"folds": 5})).manifest
    assert manifest.labels == ("anger", "happiness", "neutral", "sadness")
    assert manifest.attribute_scale == (1.0, 5.0)
    frame = manifest.frame
    session = frame["utterance_id"].str[:5]
    assert frame.groupby(session)["split"].unique().map(list).tolist() == [["train"]] * 3 + [["dev"], ["test"]]
    emotions = ("neutral", "happiness", "X", "anger", "sadness", "frustration")
    assert frame["emotion"].value_counts().to_dict() == dict.fromkeys(emotions, 5)
    folds = frame["subsets"].map(lambda names: next(name for name in names if name.startswith("fold")))
    assert folds.groupby(session).nunique().tolist() == [1] * 5 and folds.nunique() == 5
    assert manifest.mask("dev_filt").sum() == 4  # neither X nor frustration


def test_iemocap_with_six_classes_keeps_excited_apart_and_leaves_one_speaker_out(tmp_path, say, settings):
    iemocap_at(tmp_path, say)
    labels = ["anger", "excited", "frustration", "happiness", "neutral", "sadness"]
    with pytest.raises(InputError, match="label 'happiness' is on no utterance"):  # nobody is happy here
        collect(settings("iemocap", labels=labels))
    labels.remove("happiness")
    manifest = collect(settings("iemocap", labels=labels, split={"folds": 10})).manifest
    assert (manifest.frame["emotion"] == "excited").sum() == 5
    folds = manifest.frame["subsets"].map(lambda names: next(name for name in names if name.startswith("fold")))
    assert folds.groupby(manifest.frame["speaker"]).nunique().tolist() == [1] * 10 and folds.nunique() == 10


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


def test_one_bad_line_of_msp_podcasts_labels_and_partitions_costs_its_turn_alone(tmp_path, settings):
    good = "".join(f"g{i}.wav,A,5,5,5,1,Male,Train\n" for i in range(3))
    msp(tmp_path, good + "a.wav,Q,5,5,5,1,Male,Train\nb.wav,A,high,5,5,1,Male,Test1\nc.wav,A,5,5,1,Male,Train\n")
    (tmp_path / "Partitions.txt").write_text("Test3; t.wav\nno partition\nTest9; u.wav\n")
    frame = msp_podcast.read(tmp_path, settings("msp_podcast"))
    assert frame["utterance_id"][frame["reject"].isna()].tolist() == ["g0", "g1", "g2", "t"]
    bad = frame[frame["reject"].notna()]
    assert sorted(bad["utterance_id"]) == [
        "Labels/labels_consensus.csv, line 7",
        "Partitions.txt, line 2",
        "Partitions.txt, line 3",
        "a",
        "b",
    ]
    assert dict(zip(bad["utterance_id"], bad["split"], strict=True))["b"] == "test"


def test_all_copies_of_a_turn_are_read(tmp_path, say, settings):
    iemocap_at(tmp_path, say, sessions=1)
    wav = tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    say(wav / "Ses01F_impro01_F000 (1).wav")
    frame = iemocap.read(tmp_path, settings("iemocap"))
    assert (frame["utterance_id"] == "Ses01F_impro01_F000").sum() == 2
    msp(tmp_path, "a.wav,A,5,5,5,1,Male,Train\n")
    say(tmp_path / "Audios" / "a.flac")
    say(tmp_path / "Audios" / "a.wav")
    assert msp_podcast.read(tmp_path, settings("msp_podcast"))["audio"].tolist() == ["Audios/a.flac", "Audios/a.wav"]
