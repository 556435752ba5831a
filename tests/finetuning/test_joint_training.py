"""Joint experts in training: kept frames, corpora of one modality, missing labels, what early stopping sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline_lib.embedding.embed import embed
from pipeline_lib.embedding.settings import EmbeddingSettings
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import data
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.tables import embeddings, manifest, predictions, transcripts
from stages.finetuning import main
from tests.finetuning import corpora
from tests.finetuning.test_joint import TARGETS, run


def without_audio(corpus):
    """Return the corpus as if it were of texts alone."""
    frame = corpus.frame.copy()
    frame["audio"] = frame["audio_sha256"] = np.full(len(frame), None, dtype=object)
    return replace(corpus, frame=frame.assign(duration_s=np.nan))


def test_frames_kept_in_memory_train_the_same_expert_and_the_console_says_so(tones, tmp_path, capsys):
    limits = {"none": 0.0, "some": 5e-5, "all": 1.0}
    found = {
        name: run(tones, tmp_path / name, corpora.joint(tones, cache_embeddings_gb=limit, **TARGETS))[0]
        for name, limit in limits.items()
    }
    said = capsys.readouterr().err
    assert "frames of audio and text are computed anew each time: cache_embeddings_gb is 0" in said
    assert said.count("frames of text are kept in memory") == 2
    assert said.count("frames of audio are computed anew each time: they would take 0.000") == 1
    assert "of cache_embeddings_gb 5e-05 there is" in said
    for name in ("some", "all"):
        for shown, each in found[name].items():
            np.testing.assert_allclose(each.posterior, found["none"][shown].posterior, atol=1e-6)
            np.testing.assert_allclose(each.attributes, found["none"][shown].attributes, atol=1e-5)


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
    changes = corpora.merged({"phases": {"only": {"epochs": 1}}, "cache_embeddings_gb": 1.0}, changes)
    run(tones, tmp_path, corpora.joint(tones, **changes))
    said = capsys.readouterr().err
    assert "frames of audio are computed anew each time: " in said
    assert why in said
    assert "frames of text are kept in memory" in said


def test_a_kept_encoder_never_runs_again_while_it_trains(tones, tmp_path, monkeypatch):
    from pipeline_lib.encoders.speech import SpeechEncoder

    calls, forward = [], SpeechEncoder.forward
    monkeypatch.setattr(
        SpeechEncoder,
        "forward",
        lambda self, **inputs: calls.append(len(next(iter(inputs.values())))) or forward(self, **inputs),
    )
    run(tones, tmp_path, corpora.joint(tones, cache_embeddings_gb=1.0))
    assert sum(calls) == 36 + 48  # train and dev once; then every utterance, for all that is said of it


def test_a_corpus_of_texts_trains_a_joint_expert(tones, tmp_path, capsys):
    shown, _ = run(tones, tmp_path, corpora.joint(tones, heads="separate"), without_audio(tones.corpus))
    assert set(shown) == {"both", "text"}
    np.testing.assert_array_equal(shown["both"].posterior, shown["text"].posterior)
    assert "0 utterances with audio and text, 0 with audio alone, 48 with text alone" in capsys.readouterr().out


def test_a_corpus_of_recordings_trains_a_joint_expert(tones, tmp_path):
    shown, _ = run(tones, tmp_path, corpora.joint(tones), texts=[""] * 48)
    assert set(shown) == {"both", "audio"}
    np.testing.assert_array_equal(shown["both"].posterior, shown["audio"].posterior)
    frame = tones.corpus.frame.assign(reference_text=np.full(48, None, dtype=object))
    settings = corpora.joint(tones, text="reference")
    assert data.texts_of(replace(tones.corpus, frame=frame), None, settings) == [None] * 48


def test_without_emotions_their_gradient_is_zero_and_the_others_is_not(tones, tmp_path, monkeypatch):
    seen = {}
    forward = Steps._forward

    def watched(self, inputs, truth):
        truth = truth | {"emotion": torch.full_like(truth["emotion"], -1)}
        found, loss = forward(self, inputs, truth)
        network = self.job.network
        parts = {"emotion": network.heads["shared"].emotion, "attributes": network.heads["shared"].attributes}
        parts |= {"sentiment": network.heads["shared"].sentiment}
        for name, part in parts.items():
            (gradient,) = torch.autograd.grad(loss, part.weight, retain_graph=True)
            seen.setdefault(name, []).append(float(gradient.abs().max()))
        return found, loss

    monkeypatch.setattr(Steps, "_forward", watched)
    run(tones, tmp_path, corpora.joint(tones, **TARGETS))
    assert set(seen["emotion"]) == {0.0}
    assert min(seen["attributes"]) > 0
    assert min(seen["sentiment"]) > 0


def test_emotions_beside_the_corpus_labels_count_in_every_other_loss(tones):
    corpus = replace(tones.corpus, labels=("anger", "sadness"))  # as corpus.labels restricts them
    settings = corpora.joint(tones, **corpora.merged(TARGETS, {"targets": {"pseudo_labels": False}}))
    targets = data.targets_of(corpus, settings)
    happy = corpus.frame["emotion"].to_numpy() == "happiness"
    assert targets.labels == ("anger", "sadness")
    assert set(targets.emotion[happy]) == {-1}
    train, _ = data.check_data(corpus, targets, settings)
    assert happy[train].sum() == 6
    assert np.isfinite(targets.attributes[happy][:, 1]).all()


@pytest.mark.parametrize(("shown", "wanted"), [("audio", [12]), ("both", [12]), (None, [12, 12, 12])])
def test_early_stopping_sees_what_it_is_to_be_shown(tones, tmp_path, monkeypatch, shown, wanted):
    from pipeline_lib.finetuning.train import Training

    seen, score = [], Training._score
    monkeypatch.setattr(
        Training,
        "_score",
        lambda self, steps, tally, rows, read: (
            seen.append((len(rows), read.shown)) or score(self, steps, tally, rows, read)
        ),
    )
    run(tones, tmp_path, corpora.joint(tones, early_stopping={"shown": shown}, phases={"only": {"epochs": 1}}))
    assert [n for n, _ in seen] == wanted
    assert [each for _, each in seen] == ([shown] if shown else ["audio", "text", "both"])


def test_a_mean_over_passes_is_what_is_minimised(tones, tmp_path, monkeypatch):
    from pipeline_lib.finetuning.objective import Objective

    parts, whole = [], []
    supervised, of_passes = Objective.supervised, Objective.of_passes
    monkeypatch.setattr(
        Objective, "supervised", lambda self, *given: parts.append(supervised(self, *given)) or parts[-1]
    )
    monkeypatch.setattr(
        Objective, "of_passes", lambda self, *given: parts.clear() or whole.append(of_passes(self, *given)) or whole[-1]
    )
    settings = corpora.joint(tones, max_steps=1, **TARGETS)

    def step(self, state, window, loaded):
        _, (inputs, truth) = next(loaded)
        self.model.train()
        _, loss = self._forward(inputs, truth)
        assert len(parts) == 3
        torch.testing.assert_close(loss, (parts[0] + parts[1] + parts[2]) / 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path, settings)


def test_the_stage_writes_what_is_said_of_one_modality_alone_and_an_empty_folder_for_others(tones, tmp_path):
    phases = {"only": {"epochs": 1}}
    entries = {
        "joint": corpora.joint(tones, phases=phases),
        "text": corpora.settings(tones.llama, "text", phases=phases),
    }
    params = {
        "corpus": {"root": str(tones.root)},
        "finetuning": {name: each.model_dump() for name, each in entries.items()},
    }
    YAML().dump(params, tmp_path / "params.yaml")
    manifest.write(tmp_path / "manifest.parquet", tones.corpus)
    heard = {"engine": "none", "checkpoint": "", "decoding": {}}
    transcripts.write(tmp_path / "transcripts.parquet", tones.corpus.ids, tones.texts, **heard)
    places = {"params": tmp_path / "params.yaml", "manifest_path": tmp_path / "manifest.parquet"}
    places |= {
        "transcripts_path": tmp_path / "transcripts.parquet",
        "models": tmp_path / "models",
        "out": tmp_path / "p",
    }
    places |= {"curves": tmp_path / "curves", "work": tmp_path / "work"}
    for name in entries:
        main(name, **places)
    alone = tmp_path / "p_alone"
    assert sorted(each.name for each in (alone / "joint").iterdir()) == ["audio.parquet", "text.parquet"]
    assert list((alone / "text").iterdir()) == []
    assert predictions.read(alone / "joint" / "audio.parquet").expert == "joint"
    assert len(predictions.read(tmp_path / "p" / "joint.parquet").utterance_ids) == 48


def embedded(tones, folder, modality, **changes):
    """Return the folder of an embedding with all frames of the tones' checkpoint."""
    checkpoint, texts = (tones.w2v_bert, None) if modality == "audio" else (tones.llama, tones.texts)
    entry = {"modality": modality, "encoder": {"checkpoint": str(checkpoint)}, "frames": True, "device": "cpu"}
    settings = EmbeddingSettings.parse(entry | changes, f"embedding.{modality}")
    embed(tones.corpus, tones.root, texts, settings, folder, folder.with_name("work"))
    return folder


def test_frames_read_from_an_embedding_train_the_expert_that_computed_ones_train(tones, tmp_path, capsys):
    computed, _ = run(tones, tmp_path / "computed", corpora.joint(tones, cache_embeddings_gb=1.0, **TARGETS))
    branches = {
        modality: {"embedding": str(embedded(tones, tmp_path / modality, modality))} for modality in ("audio", "text")
    }
    settings = corpora.joint(tones, cache_embeddings_gb=1.0, branches=branches, **TARGETS)
    capsys.readouterr()
    read, _ = run(tones, tmp_path / "read", settings)
    said = capsys.readouterr().err
    assert said.count("kept in memory") == 2 and f"read from {tmp_path / 'audio'}" in said
    for shown, each in read.items():
        np.testing.assert_allclose(each.posterior, computed[shown].posterior, atol=2e-5)
        np.testing.assert_allclose(each.attributes, computed[shown].attributes, atol=1e-4)


def test_an_encoder_whose_frames_are_read_runs_to_predict_only(tones, tmp_path, monkeypatch):
    from pipeline_lib.encoders.speech import SpeechEncoder

    branches = {"audio": {"embedding": str(embedded(tones, tmp_path / "audio", "audio"))}}
    calls, forward = [], SpeechEncoder.forward
    monkeypatch.setattr(
        SpeechEncoder,
        "forward",
        lambda self, **inputs: calls.append(len(next(iter(inputs.values())))) or forward(self, **inputs),
    )
    run(tones, tmp_path, corpora.joint(tones, cache_embeddings_gb=1.0, branches=branches))
    assert sum(calls) == 48


def test_the_frames_that_are_read_are_those_of_the_table(tones, tmp_path):
    from pipeline_lib.finetuning import stored_frames

    folder = embedded(tones, tmp_path / "text", "text", layers=[0, 2])
    rows, counted = np.array([41, 3]), []
    found = stored_frames.read(folder, [2, 0], rows, tones.corpus.ids, counted.append)
    assert set(found) == {41, 3} and sum(counted) == 4
    for i, layer in enumerate([2, 0]):
        stored = dict(embeddings.iter_frames(folder, layer))
        for row in rows:
            np.testing.assert_array_equal(found[row][i].float().numpy(), stored[tones.corpus.ids[row]])


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
    asked = corpora.merged({"cache_embeddings_gb": 1.0, "branches": {"audio": {"embedding": str(folder)}}}, settings)
    with pytest.raises(InputError, match=message):
        run(tones, tmp_path, corpora.joint(tones, **asked))
    assert "kept in memory" not in capsys.readouterr().err  # the text's frames were not computed before


def test_an_embedding_of_another_encoder_or_corpus_is_refused(tones, tmp_path):
    folder = embedded(tones, tmp_path / "text", "text")
    asked = {"cache_embeddings_gb": 1.0, "branches": {"audio": {"embedding": str(folder)}}}
    with pytest.raises(InputError, match=r"text is of .*; run the embedding again"):
        run(tones, tmp_path, corpora.joint(tones, **asked))
    frame = tones.corpus.frame.assign(utterance_id=[f"other_{each}" for each in tones.corpus.ids])
    asked["branches"] = {"text": {"embedding": str(folder)}}
    with pytest.raises(InputError, match=r"has no frames of 'other_.* and 35 others that are trained on"):
        run(tones, tmp_path, corpora.joint(tones, **asked), replace(tones.corpus, frame=frame))
