"""MSP-Podcast as a tiny corpus in its native layout."""

import json

import numpy as np
import pytest

from pipeline_lib.corpus import msp_podcast
from pipeline_lib.errors import InputError
from tests.corpus.licensed_layouts import msp


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
