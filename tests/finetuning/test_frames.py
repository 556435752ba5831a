"""Frames of frozen branches: cached in memory, read from an embedding, or computed anew."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline_lib.embedding.embed import embed
from pipeline_lib.errors import InputError
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.machine import EmbeddingMachine
from pipeline_lib.tables import embeddings
from tests.finetuning import corpora, runs
from tests.finetuning.test_joint import TARGETS, run


def test_frames_kept_in_memory_train_the_same_expert_and_the_console_says_so(tones, tmp_path, capsys):
    limits = {"none": 0.0, "some": 5e-5, "all": 1.0}
    result = {}
    for name, limit in limits.items():
        settings = corpora.joint(tones, cache_embeddings=limit > 0, **TARGETS)
        result[name], _ = run(tones, tmp_path / name, settings, cache_embeddings_gb=limit)
    console = capsys.readouterr().err
    assert "frames are computed anew each time: cache_embeddings is false" in console
    assert console.count("frames of text are cached in memory") == 2
    assert console.count("frames of audio are computed anew each time: they would take ") == 1
    assert "of cache_embeddings_gb 5e-05 there is" in console
    for name in ("some", "all"):
        for modalities, table in result[name].items():
            np.testing.assert_allclose(table.posterior, result["none"][modalities].posterior, atol=1e-6)
            np.testing.assert_allclose(table.attributes, result["none"][modalities].attributes, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"branches": {"audio": {"adaptation": {"method": "full"}}}},
            "adaptation.method is 'full', its encoder changes",
        ),
        ({"phases": {"only": {"chunk_s": [0.3, 0.4]}}}, "phases.only.chunk_s draws other chunks each epoch"),
        ({"augmentation": {"reverberation": {"probability": 0.5, "rooms": 2}}}, "augmentation changes the audio each"),
    ],
)
def test_frames_that_change_are_not_kept(tones, tmp_path, capsys, changes, why):
    changes = corpora.merged({"phases": {"only": {"epochs": 1}}, "cache_embeddings": True}, changes)
    run(tones, tmp_path, corpora.joint(tones, **changes))
    console = capsys.readouterr().err
    assert "frames of audio are computed anew each time: " in console
    assert why in console
    assert "frames of text are cached in memory" in console


def test_a_kept_encoder_never_runs_again_while_it_trains(tones, tmp_path, monkeypatch):
    from pipeline_lib.encoders.speech import SpeechEncoder

    calls, forward = [], SpeechEncoder.forward
    monkeypatch.setattr(
        SpeechEncoder,
        "forward",
        lambda self, **inputs: calls.append(len(next(iter(inputs.values())))) or forward(self, **inputs),
    )
    run(tones, tmp_path, corpora.joint(tones, cache_embeddings=True))
    assert sum(calls) == 36 + 48  # train and dev once; then every utterance, for all that is said of it


def embedded(tones, folder, modality, **changes):
    """Return the folder of an embedding with all frames of the tones' checkpoint."""
    checkpoint, texts = (tones.w2v_bert, None) if modality == "audio" else (tones.llama, tones.texts)
    entry = {"modality": modality, "encoder": {"checkpoint": str(checkpoint)}, "frames": True}
    settings = EmbeddingSettings.parse(entry | changes, f"embedding.{modality}")
    embed(tones.corpus, tones.root, texts, settings, folder, folder.with_name("work"), EmbeddingMachine(device="cpu"))
    return folder


def test_frames_read_from_an_embedding_train_the_expert_that_computed_ones_train(tones, tmp_path, capsys):
    computed, _ = run(tones, tmp_path / "computed", corpora.joint(tones, cache_embeddings=True, **TARGETS))
    branches = {
        modality: {"embedding": str(embedded(tones, tmp_path / modality, modality))} for modality in ("audio", "text")
    }
    settings = corpora.joint(tones, cache_embeddings=True, branches=branches, **TARGETS)
    capsys.readouterr()
    read, _ = run(tones, tmp_path / "read", settings)
    console = capsys.readouterr().err
    assert console.count("cached in memory") == 2 and f"read from {tmp_path / 'audio'}" in console
    for modalities, table in read.items():
        np.testing.assert_allclose(table.posterior, computed[modalities].posterior, atol=2e-5)
        np.testing.assert_allclose(table.attributes, computed[modalities].attributes, atol=1e-4)


def test_an_encoder_whose_frames_are_read_runs_to_predict_only(tones, tmp_path, monkeypatch):
    from pipeline_lib.encoders.speech import SpeechEncoder

    branches = {"audio": {"embedding": str(embedded(tones, tmp_path / "audio", "audio"))}}
    calls, forward = [], SpeechEncoder.forward
    monkeypatch.setattr(
        SpeechEncoder,
        "forward",
        lambda self, **inputs: calls.append(len(next(iter(inputs.values())))) or forward(self, **inputs),
    )
    run(tones, tmp_path, corpora.joint(tones, cache_embeddings=True, branches=branches))
    assert sum(calls) == 48


def test_the_frames_that_are_read_are_those_of_the_table(tones, tmp_path):
    from pipeline_lib.finetuning import frame_store

    folder = embedded(tones, tmp_path / "text", "text", layers=[0, 2])
    rows, counted = np.array([41, 3]), []
    result = frame_store.read(folder, [2, 0], rows, tones.corpus.ids, counted.append)
    assert set(result) == {41, 3} and sum(counted) == 4
    for i, layer in enumerate([2, 0]):
        stored = dict(embeddings.iter_frames(folder, layer))
        for row in rows:
            np.testing.assert_array_equal(result[row][i].float().numpy(), stored[tones.corpus.ids[row]])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"frames": False}, {}, r"without frames, the branch reads frames of \[0, 1, 2, 3\]"),
        ({"layers": [1, 2]}, {}, r"has layers \[1, 2\] with frames, the branch reads frames of \[0, 1, 2, 3\]"),
        ({}, {"predict": {"max_s": 0.5}}, r"of 'dev' lasts 0\.[67] s, of utterances over predict.max_s 0.5 the middle"),
    ],
)
def test_an_embedding_that_does_not_serve_is_refused(tones, tmp_path, capsys, changes, settings, message):
    folder = embedded(tones, tmp_path / "audio", "audio", **changes)
    options = corpora.merged({"cache_embeddings": True, "branches": {"audio": {"embedding": str(folder)}}}, settings)
    with pytest.raises(InputError, match=message):
        run(tones, tmp_path, corpora.joint(tones, **options))
    assert "cached in memory" not in capsys.readouterr().err  # the text's frames were not computed before


def test_an_embedding_of_another_encoder_or_corpus_is_refused(tones, tmp_path):
    folder = embedded(tones, tmp_path / "text", "text")
    options = {"cache_embeddings": True, "branches": {"audio": {"embedding": str(folder)}}}
    with pytest.raises(InputError, match=r"text is of .*; run the embedding again"):
        run(tones, tmp_path, corpora.joint(tones, **options))
    frame = tones.corpus.frame.assign(utterance_id=[f"other_{name}" for name in tones.corpus.ids])
    options["branches"] = {"text": {"embedding": str(folder)}}
    with pytest.raises(InputError, match=r"has no frames of 'other_.* and 35 others that are trained on"):
        run(tones, tmp_path, corpora.joint(tones, **options), replace(tones.corpus, frame=frame))


ALONE = {"adaptation": {"method": "frozen"}, "layers": "weighted", "phases": {"only": {"chunk_s": None}}}


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_a_frozen_expert_of_one_modality_trains_on_cached_and_stored_frames_what_it_does_without(
    tones, tmp_path, capsys, modality
):
    checkpoint, phase = (tones.w2v_bert, {"chunk_s": None}) if modality == "audio" else (tones.llama, {})
    alone = ALONE | {"phases": {"only": phase}}

    def trained(name, limit, **changes):
        settings = corpora.settings(checkpoint, modality, cache_embeddings=True, **alone, **changes, **runs.BOTH)
        return runs.run(tones, tmp_path / name, settings, cache_embeddings_gb=limit)[0]

    anew, cached = trained("anew", 0.0), trained("cached", 1.0)
    console = capsys.readouterr().err
    assert console.count(f"frames of {modality} are computed anew each time: they would take ") == 1
    assert console.count(f"frames of {modality} are cached in memory") == 1
    np.testing.assert_allclose(cached.posterior, anew.posterior, atol=1e-6)
    np.testing.assert_allclose(cached.attributes, anew.attributes, atol=1e-5)
    stored = trained("stored", 1.0, embedding=str(embedded(tones, tmp_path / "frames", modality)))
    assert f"read from {tmp_path / 'frames'}" in capsys.readouterr().err
    np.testing.assert_allclose(stored.posterior, anew.posterior, atol=2e-5)
    np.testing.assert_allclose(stored.attributes, anew.attributes, atol=1e-4)


def test_a_frozen_expert_that_caches_runs_its_encoder_once_and_to_predict(tones, tmp_path, monkeypatch):
    from pipeline_lib.encoders.speech import SpeechEncoder

    calls, forward = [], SpeechEncoder.forward
    monkeypatch.setattr(
        SpeechEncoder,
        "forward",
        lambda self, **inputs: calls.append(len(next(iter(inputs.values())))) or forward(self, **inputs),
    )
    runs.run(tones, tmp_path / "cached", corpora.settings(tones.w2v_bert, "audio", cache_embeddings=True, **ALONE))
    assert sum(calls) == 36 + 48  # train and dev once, every utterance in the end
    runs.run(tones, tmp_path / "anew", corpora.settings(tones.w2v_bert, "audio", **ALONE))
    assert sum(calls) == 2 * 36 + 36 + 48 + 48  # two epochs of train and dev
    folder = str(embedded(tones, tmp_path / "frames", "audio"))
    before = len(calls)
    stored = corpora.settings(tones.w2v_bert, "audio", cache_embeddings=True, embedding=folder, **ALONE)
    runs.run(tones, tmp_path / "stored", stored)
    assert len(calls) == before  # an embedding has all frames, those that are predicted too
    runs.run(tones, tmp_path / "small", stored, cache_embeddings_gb=0.0)
    assert len(calls) > before
