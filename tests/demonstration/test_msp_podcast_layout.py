"""The MSP-Podcast layout, read back by the reader of the licensed corpus: everything as planned."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio.decoding import decode
from pipeline_lib.corpus.collect import collect
from pipeline_lib.demonstration.generate import generate
from pipeline_lib.demonstration.plan import HIDDEN, plan
from pipeline_lib.demonstration.synthesis import Utterance, speak
from pipeline_lib.labels import PRIMARY, consensus
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.demonstration import DemonstrationSettings

TINY = DemonstrationSettings(layout="msp_podcast", train=40, dev=20, test=16, hidden=8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("demonstration") / "english"
    generate(TINY, out)
    return out


@pytest.fixture(scope="module")
def collected(root):
    return collect(CorpusSettings.parse({"reader": "msp_podcast", "root": str(root)}, "corpus"))


@pytest.fixture(scope="module")
def read(collected):
    """Rows of the manifest in the plan's order: a hidden turn by its number, a labelled one by what it says."""
    frame = collected.manifest.frame
    labelled = {(r.split, r.reference_text): r for r in frame.itertuples() if r.split != HIDDEN}
    hidden = [r for r in frame.itertuples() if r.split == HIDDEN]
    planned = plan(TINY)
    assert len(labelled) + len(hidden) == len(frame) == len(planned) == 84
    return [(p, labelled[p.split, p.text] if p.split != HIDDEN else hidden.pop(0)) for p in planned]


def test_nothing_is_quarantined(collected):
    assert len(collected.quarantine) == 0
    assert collected.manifest.labels == PRIMARY
    assert collected.manifest.attribute_scale == (1.0, 7.0)


def test_labels_votes_attributes_gender_and_split_are_as_planned(read):
    for planned, row in read:
        assert row.split == planned.split
        if planned.split != HIDDEN:
            assert row.emotion == planned.emotion == consensus(row.votes)
            assert row.votes == planned.votes
            assert row.gender == planned.voice.gender
            assert (row.arousal, row.valence, row.dominance) == planned.attributes


def test_a_speaker_is_a_voice(read):
    pairs = {(planned.voice.name, row.speaker) for planned, row in read if planned.split != HIDDEN}
    assert len(pairs) == len({voice for voice, _ in pairs}) == len({speaker for _, speaker in pairs}) > 20


def test_of_hidden_turns_only_the_sound_is_known(read, collected, root):
    rows = [row for planned, row in read if planned.split == HIDDEN]
    assert [row.utterance_id for row in rows] == [f"MSP-PODCAST_test3_{n:04d}" for n in range(1, 9)]
    for row in rows:
        assert row.emotion is row.votes is row.speaker is row.gender is row.reference_text is None
        assert np.isnan([row.arousal, row.valence, row.dominance]).all()
        assert row.duration_s > 0.7
    assert collected.manifest.mask("test3").sum() == 8
    texts = [path.read_text() for path in (root / "Labels").iterdir()] + [(root / "Speaker_ids.txt").read_text()]
    assert not any("test3" in text for text in texts)


def test_every_recording_says_what_was_planned(read, root):
    for planned, row in read[::9]:
        wave = speak(Utterance(planned.text, planned.voice.espeak, planned.prosody, planned.phase))
        decoded = decode(root / row.audio)
        if row.utterance_id == "MSP-PODCAST_0001_0001":  # stereo, resampled twice
            assert np.corrcoef(decoded[: len(wave)], wave[: len(decoded)])[0, 1] > 0.999
        else:
            np.testing.assert_array_equal(np.round(decoded * 32768).astype(np.int16), wave)


def test_one_recording_is_stereo_at_44_khz_and_the_rest_mono_at_16(root):
    kinds = Counter()
    for path in (root / "Audios").iterdir():
        info = soundfile.info(path)
        kinds[info.format, info.subtype, info.samplerate, info.channels] += 1
    assert kinds == {("WAV", "PCM_16", 44_100, 2): 1, ("WAV", "PCM_16", 16_000, 1): 83}


def test_workers_ratings_average_to_the_consensus(root):
    detailed = json.loads((root / "Labels" / "labels_detailed.json").read_text())
    with (root / "Labels" / "labels_consensus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert detailed.keys() == {row["FileName"] for row in rows}
    for row in rows:
        workers = detailed[row["FileName"]].values()
        assert len(workers) == 5
        for name in ("EmoAct", "EmoVal", "EmoDom"):
            assert np.mean([answers[name] for answers in workers]) == pytest.approx(float(row[name]), abs=1e-12)


def test_partitions_and_speaker_ids_agree_with_the_consensus(root):
    with (root / "Labels" / "labels_consensus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    partitions = dict(line.split("; ")[::-1] for line in (root / "Partitions.txt").read_text().splitlines())
    assert {name: split for name, split in partitions.items() if split != "Test3"} == {
        row["FileName"]: row["Split_Set"] for row in rows
    }
    assert Counter(partitions.values()) == {"Train": 40, "Development": 20, "Test1": 16, "Test3": 8}
    lines = (root / "Speaker_ids.txt").read_text().splitlines()
    genders = dict(line.split("; ") for line in lines if line.startswith("Speaker_"))
    speakers = dict(line.split(";") for line in lines if line.startswith("MSP-PODCAST_"))
    assert speakers == {row["FileName"]: row["SpkrID"] for row in rows}
    assert genders == {f"Speaker_{row['SpkrID']}": row["Gender"] for row in rows}
