"""Utterances that are parts of one recording, and utterances that keep their text when their recording is lost."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.corpus import checking, collect, layout
from pipeline_lib.corpus import table as table_reader
from pipeline_lib.corpus.checking import Limits
from pipeline_lib.corpus.describe import describe
from pipeline_lib.errors import InputError
from pipeline_lib.tables.manifest import Manifest
from stages import corpus as stage

HEADER = "utterance_id,audio,emotion,split,reference_text\n"


@pytest.fixture
def segmented(tmp_path, settings, monkeypatch):
    """Collect rows of one recording of 4 s; a row: identifier, split, start_s, end_s, and what else it has."""
    hiss = 0.1 * np.random.default_rng(0).standard_normal(64_000)
    hiss[48_000:52_000] = 0
    soundfile.write(tmp_path / "long.wav", hiss, 16_000)

    def run(*rows, **more):
        utterances = [
            {"utterance_id": name, "split": split, "start_s": start, "end_s": end, "audio": "long.wav"}
            | {"emotion": ("joy", "anger")[i % 2], **dict(further)}
            for i, (name, split, start, end, *further) in enumerate(rows)
        ]
        monkeypatch.setattr(table_reader, "read", lambda root, given: layout.frame(utterances))
        (tmp_path / "corpus.csv").write_text(HEADER)
        return collect.collect(settings("table", **more))

    return run


def test_segments_of_a_recording_are_utterances_and_the_file_is_hashed_once(segmented, monkeypatch):
    hashed, digest = [], checking._digest
    monkeypatch.setattr(checking, "_digest", lambda path: hashed.append(path.name) or digest(path))
    result = segmented(
        ("a", "train", 0.0, 1.0), ("b", "train", 1.0, 2.5), ("c", "dev", 2.5, 2.9), ("d", "test", 3.25, np.nan)
    )
    assert hashed == ["long.wav"]
    frame = result.manifest.frame
    assert frame["duration_s"].tolist() == [1.0, 1.5, 0.4, 0.75]
    assert frame["audio_sha256"].nunique() == 1 and len(frame) == 4
    np.testing.assert_array_equal(frame["end_s"], [1.0, 2.5, 2.9, np.nan])
    assert result.metrics["duplicated_recordings"] == 0 and "same bytes" not in result.metrics["warnings"]


def test_a_segment_that_cannot_be_used_is_quarantined_and_its_neighbours_stay(segmented):
    result = segmented(
        ("a", "train", 0.0, 1.0),
        ("b", "train", 1.0, 2.0),
        ("behind", "train", 1000, 1800),
        ("over", "dev", 3.5, 4.5),
        ("quiet", "train", 3.05, 3.2),
        ("turned", "train", 2.0, 1.0),
        ("d", "dev", 2.0, 2.5),
    )
    assert result.manifest.ids.tolist() == ["a", "b", "d"]
    assert result.metrics["quarantined"] == {"segment": 3, "silent": 1}
    reasons = dict(zip(result.quarantine["utterance_id"], result.quarantine["reason"], strict=True))
    assert "milliseconds or samples" in reasons["behind"] and "milliseconds or samples" in reasons["over"]
    assert reasons["quiet"].startswith("silent")


def test_sound_that_two_segments_share_is_counted(segmented):
    result = segmented(
        ("a", "train", 0.0, 1.0),
        ("b", "train", 0.5, 1.5),
        ("c", "dev", 1.5, 2.0),
        ("d", "test", 1.9, 2.5),
        ("e", "train", 2.5, 2.9),
    )
    assert result.metrics["duplicated_recordings"] == 2
    assert "1 recordings have the same bytes as one of another split." in result.metrics["warnings"]


def test_parts_of_an_mp3_are_taken_and_the_cost_is_printed(tmp_path, segmented):
    soundfile.write(tmp_path / "long.mp3", 0.1 * np.random.default_rng(2).standard_normal(48_000), 16_000)
    result = segmented(
        ("a", "train", 0.0, 1.0, ("audio", "long.mp3")),
        ("b", "train", 1.0, 2.0, ("audio", "long.mp3")),
        ("c", "dev", 2.0, 2.5),
    )
    assert len(result.manifest) == 3
    assert (
        "1 utterances are parts of MP3 or Opus recordings, which every stage decodes from" in result.metrics["warnings"]
    )


def test_a_recording_that_is_damaged_anywhere_costs_all_its_parts(tmp_path, segmented):
    path = tmp_path / "torn.ogg"
    soundfile.write(path, 0.1 * np.random.default_rng(2).standard_normal(160_000), 16_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    torn = [(name, "train", i, i + 1.0, ("audio", "torn.ogg")) for i, name in enumerate("abcd")]
    result = segmented(*torn, ("e", "train", 0.0, 1.0), ("f", "train", 1.0, 2.0))
    assert result.metrics["quarantined"] == {"damaged": 4} and result.manifest.ids.tolist() == ["e", "f"]


def test_overlaps_agree_with_a_comparison_of_all_pairs():
    rng = np.random.default_rng(1)
    start = rng.integers(0, 40, 60).astype(float)
    end = np.where(rng.random(60) < 0.1, np.nan, start + rng.integers(1, 6, 60))
    start[rng.random(60) < 0.1] = np.nan
    columns = {"utterance_id": [f"u{i:02d}" for i in range(60)], "audio_sha256": rng.choice(["x", "y"], 60)}
    columns |= {"start_s": start, "end_s": end, "split": rng.choice(["train", "dev", "test"], 60), "duration_s": 1.0}
    columns |= dict.fromkeys(("speaker", "gender", "emotion", "votes", "reference_text"))
    columns |= dict.fromkeys(("arousal", "valence", "dominance"), np.nan)
    frame = pd.DataFrame(columns).assign(subsets=[[]] * 60)
    begin, until = np.nan_to_num(start), np.where(np.isnan(end), np.inf, end)
    again = crossing = 0
    order = np.argsort(begin, kind="stable")
    for position, i in enumerate(order):
        shared = [
            j for j in order[:position] if frame["audio_sha256"][i] == frame["audio_sha256"][j] and until[j] > begin[i]
        ]
        again += bool(shared)
        crossing += any(frame["split"][j] != frame["split"][i] for j in shared)
    assert 0 < crossing < again < 60
    result = describe(Manifest(frame, "toy", ("joy",)), frame["split"], [], [], {})
    assert result["duplicated_recordings"] == again
    assert f"{crossing} recordings have the same bytes as one of another split." in result["warnings"]


def test_many_processes_find_what_one_finds(tmp_path, segmented):
    segmented(("a", "train", 0.0, 1.0), ("b", "train", 1.0, 2.0))
    soundfile.write(tmp_path / "other.wav", 0.1 * np.random.default_rng(2).standard_normal(32_000), 16_000)
    paths = ["long.wav", "other.wav", "gone.wav"] * 30
    parts = [(0.04 * i, 0.04 * i + 0.2) for i in range(90)]
    one, two = (checking.check_all(tmp_path, paths, Limits(0.1, 2.0), n, parts=parts) for n in (1, 2))
    assert one == two
    assert one[2].reason == "missing" and one[1].reason is None and one[88].reason == "segment"


@pytest.fixture
def half(tmp_path, say, settings):
    """Collect a table of which some rows have no recording, a lost one, a silent one, or no text."""
    splits = ("train", "dev", "test")
    rows = [
        *(f"{split}{i},{split}{i}.wav,{('anger', 'joy')[i]},{split},we go" for split in splits for i in range(2)),
        "lost,lost.wav,joy,train,it is gone",
        "mute,mute.wav,joy,train,no sound",
        "nothing,,anger,train,there was none",
        "wordless,wordless.wav,anger,train, ",
    ]
    for row in rows[:6]:
        say(tmp_path / row.split(",")[1])
    soundfile.write(tmp_path / "mute.wav", np.zeros(8_000), 16_000)
    (tmp_path / "corpus.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return lambda **more: collect.collect(settings("table", allow_speaker_leak=True, **more))


def test_bad_rows_are_dropped_by_default(half):
    result = half()
    assert len(result.manifest) == 6 and result.manifest.has_audio.all()
    assert result.metrics["quarantined"] == {"missing": 2, "no audio": 1, "silent": 1}
    assert result.metrics["text_alone"] == {}


def test_what_is_left_of_bad_rows_is_kept_where_it_is_text(half):
    result = half(on_bad="keep_rest")
    frame = result.manifest.frame.set_index("utterance_id")
    alone = frame.loc[["lost", "mute", "nothing"]]
    assert alone[["audio", "audio_sha256"]].isna().all(axis=None) and alone["duration_s"].isna().all()
    assert alone["reference_text"].tolist() == ["it is gone", "no sound", "there was none"]
    assert len(frame) == 9 and int(result.manifest.has_audio.sum()) == 6
    assert len(result.quarantine) == 3 and result.quarantine["utterance_id"].dropna().tolist() == ["wordless"]
    assert result.metrics["quarantined"] == {"missing": 1}
    assert result.metrics["text_alone"] == {"missing": 1, "no audio": 1, "silent": 1}
    assert (
        "3 utterances have text and no usable audio and stay with text alone: missing 1" in result.metrics["warnings"]
    )
    files = result.quarantine[result.quarantine["utterance_id"].isna()].set_index("file")["reason"]
    assert sorted(files.index) == ["lost.wav", "mute.wav"] and files["mute.wav"].startswith("silent")
    assert result.metrics["splits"]["train"]["hours"] == round(2 * 0.2 / 3600, 4)


def test_an_identifier_that_comes_twice_is_no_bad_recording(tmp_path, half):
    table = tmp_path / "corpus.csv"
    table.write_text(table.read_text() + "train0,other.wav,joy,train,again\n")
    result = half(on_bad="keep_rest")
    assert result.metrics["quarantined"] == {"contradictory": 1, "missing": 1} and len(result.manifest) == 9
    assert result.manifest.frame["utterance_id"].is_unique


def test_the_stage_prints_how_many_stay_with_text_alone(tmp_path, half, capsys):
    half()
    params = tmp_path / "params.yaml"
    section = {"reader": "table", "root": str(tmp_path), "on_bad": "keep_rest"}
    params.write_text(json.dumps({"corpus": section}))
    places = {name: tmp_path / f"out/{name}" for name in ("out", "quarantine", "metrics")}
    stage.main(params, **places)
    assert "3 utterances have text and no usable audio" in capsys.readouterr().err
    assert json.loads(places["metrics"].read_text())["text_alone"] == {"missing": 1, "no audio": 1, "silent": 1}


def test_a_row_with_neither_audio_nor_text_is_always_quarantined(segmented):
    rows = [(name, "train", i, i + 0.9) for i, name in enumerate("acd")]
    result = segmented(*rows, ("b", "train", np.nan, np.nan, ("audio", None)), on_bad="keep_rest")
    assert result.metrics["quarantined"] == {"no audio": 1} and result.manifest.ids.tolist() == ["a", "c", "d"]


def test_a_row_without_audio_needs_a_name_of_its_own(tmp_path, settings):
    (tmp_path / "corpus.csv").write_text("audio,emotion,split\n,anger,train\n")
    with pytest.raises(InputError, match="line 2: audio is empty, expected a path below .*, or an utterance_id"):
        collect.collect(settings("table"))


def test_the_parts_that_a_table_names_are_read(tmp_path, settings):
    soundfile.write(tmp_path / "long.wav", 0.1 * np.random.default_rng(0).standard_normal(64_000), 16_000)
    rows = ["long.wav,0,0.5,joy,train", "long.wav,0.5,1.25,anger,train", "long.wav,1500,2000,joy,train"]
    (tmp_path / "corpus.csv").write_text("audio,start,end,emotion,split\n" + "\n".join(rows) + "\n")
    result = collect.collect(settings("table"))
    assert result.manifest.frame["duration_s"].tolist() == [0.5, 0.75]
    assert result.manifest.ids.tolist() == ["long_0-500", "long_500-1250"]
    assert result.metrics["quarantined"] == {"segment": 1} and result.metrics["duplicated_recordings"] == 0


def test_a_lost_copy_of_an_utterance_is_no_utterance_with_text_alone(tmp_path, half):
    table = tmp_path / "corpus.csv"
    table.write_text(table.read_text() + "train0,missing.wav,joy,train,again\n")
    result = half(on_bad="keep_rest")
    row = result.manifest.frame.set_index("utterance_id").loc["train0"]
    assert row["audio"] == "train0.wav" and result.metrics["text_alone"] == {"missing": 1, "no audio": 1, "silent": 1}


def test_rows_kept_with_their_text_are_no_losses_and_dropped_ones_are(tmp_path, half):
    table = tmp_path / "corpus.csv"
    table.write_text(table.read_text() + "".join(f"away{i},away{i}.wav,joy,train,away\n" for i in range(9)))
    assert int((~half(on_bad="keep_rest").manifest.has_audio).sum()) == 12
    with pytest.raises(InputError, match="rows of split 'train' cannot be used: missing 11"):
        half()
