"""Utterances that are parts of one recording, and utterances that lack the audio or the text that others have."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from pipeline_lib.experts import availability
from pipeline_lib.experts.readers import Recordings
from pipeline_lib.finetuning import identity
from pipeline_lib.finetuning.augmentation import sounds
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.tables.segments import Segment
from tests.finetuning import corpora, runs, test_joint

LOST = [0, 14, 15, 27, 38]  # rows of every split
ONCE = {"phases": {"only": {"epochs": 1}}}


@pytest.fixture(scope="module")
def in_one(tones):
    """Return the corpus with all its recordings one behind the other in a single file."""
    audio = [soundfile.read(tones.root / name, dtype="float32")[0] for name in tones.corpus.frame["audio"]]
    soundfile.write(tones.root / "all.wav", np.concatenate(audio), 16_000, subtype="FLOAT")
    ends = np.cumsum([len(samples) for samples in audio]) / 16_000
    times = {"start_s": [0.0, *ends[:-1]], "end_s": ends}
    return replace(tones.corpus, frame=tones.corpus.frame.assign(audio="all.wav", audio_sha256="0" * 64, **times))


def lacking(tones, *columns):
    """Return the corpus of which the rows LOST have nothing in these columns."""
    frame = tones.corpus.frame.copy()
    for column in columns:
        frame[column] = [
            (np.nan if column == "duration_s" else None) if row in LOST else value
            for row, value in enumerate(frame[column])
        ]
    return replace(tones.corpus, frame=frame)


def test_an_expert_trained_on_segments_is_that_of_files_of_their_own(tones, in_one, tmp_path):
    settings = corpora.settings(tones.w2v_bert, "audio", augmentation={"speed": {"share": 0.5, "factors": [0.9, 1.1]}})
    result, files = runs.run(tones, tmp_path / "own", settings, cache_audio_gb=0.0)
    again, same = runs.run(tones, tmp_path / "part", settings, in_one, cache_audio_gb=1.0)
    np.testing.assert_array_equal(again.posterior, result.posterior)
    assert same == files


def test_another_segment_of_the_same_file_is_another_training(tones, in_one):
    settings = corpora.settings(tones.w2v_bert, "audio")
    targets = targets_of(in_one, settings)
    nothing = sounds.find(settings.augmentation)
    moved = replace(in_one, frame=in_one.frame.assign(end_s=in_one.frame["end_s"] - 0.01))

    def of(corpus):
        return identity.identity(settings, corpus, targets, corpora.utterances(corpus, settings), nothing)

    assert of(in_one) != of(moved) and of(in_one) == of(in_one)


def test_recordings_keep_only_the_segments_in_memory(tones, in_one):
    end = in_one.frame["end_s"][0]
    parts = [Segment(tones.root / "all.wav", 0.0, end), None, tones.root / "all.wav"]
    read = Recordings(parts, np.array([end, 0, 0]))
    before = read(0, 0.1, 0.2)
    assert read.cache(np.array([0]), 1.0) and len(read.cached) == round(end * 16_000)
    assert read(1, 0.0, None) is None
    np.testing.assert_array_equal(read(0, 0.1, 0.2), before)
    np.testing.assert_array_equal(read(0, 0.1, 5.0), read(2, 0.1, end - 0.1))


def test_a_joint_expert_trains_on_and_predicts_what_has_text_alone(tones, tmp_path, capsys):
    corpus = lacking(tones, "audio", "audio_sha256", "duration_s")
    by_modalities, _ = test_joint.run(tones, tmp_path, corpora.joint(tones, **ONCE), corpus)
    assert "43 utterances with audio and text, 0 with audio alone, 5 with text alone" in capsys.readouterr().out
    assert len(by_modalities["both"]) == len(by_modalities["text"]) == 48 and len(by_modalities["audio"]) == 43
    np.testing.assert_allclose(by_modalities["both"].posterior[LOST], by_modalities["text"].posterior[LOST], atol=1e-6)
    assert not set(corpus.ids[LOST]) & set(by_modalities["audio"].utterance_ids)


def test_an_audio_expert_leaves_out_what_has_no_audio_and_says_so(tones, tmp_path, capsys):
    corpus = lacking(tones, "audio", "audio_sha256", "duration_s")
    result, _ = runs.run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **ONCE), corpus)
    assert "5 of 48 utterances have no audio and are neither trained on nor predicted" in capsys.readouterr().out
    assert result.utterance_ids.tolist() == [name for row, name in enumerate(corpus.ids) if row not in LOST]


def test_a_text_expert_leaves_out_what_has_no_human_text_and_says_so(tones, tmp_path, capsys):
    corpus = lacking(tones, "reference_text")
    settings = corpora.settings(tones.llama, "text", text="reference", **ONCE)
    result, _ = runs.run(tones, tmp_path, settings, corpus)
    assert "5 of 48 utterances have no text and are neither trained on nor predicted" in capsys.readouterr().out
    assert result.utterance_ids.tolist() == [name for row, name in enumerate(corpus.ids) if row not in LOST]
    assert availability.presence_lines(np.ones((3, 1), dtype=bool), ("text",)) == []
