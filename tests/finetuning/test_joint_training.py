"""Joint experts in training: corpora of one modality, missing labels, what early stopping sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline_lib import losses
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.tables import manifest, predictions, transcripts
from stages.finetuning import main
from tests.finetuning import corpora
from tests.finetuning.test_joint import TARGETS, run


def without_audio(corpus):
    """Return the corpus as if it were of texts alone."""
    frame = corpus.frame.copy()
    frame["audio"] = frame["audio_sha256"] = np.full(len(frame), None, dtype=object)
    return replace(corpus, frame=frame.assign(duration_s=np.nan))


def test_a_corpus_of_texts_trains_a_joint_expert(tones, tmp_path, capsys):
    by_modalities, _ = run(tones, tmp_path, corpora.joint(tones, heads="separate"), without_audio(tones.corpus))
    assert set(by_modalities) == {"both", "text"}
    np.testing.assert_array_equal(by_modalities["both"].posterior, by_modalities["text"].posterior)
    assert "0 utterances with audio and text, 0 with audio alone, 48 with text alone" in capsys.readouterr().out


def test_a_corpus_of_recordings_trains_a_joint_expert(tones, tmp_path):
    by_modalities, _ = run(tones, tmp_path, corpora.joint(tones), texts=[""] * 48)
    assert set(by_modalities) == {"both", "audio"}
    np.testing.assert_array_equal(by_modalities["both"].posterior, by_modalities["audio"].posterior)
    frame = tones.corpus.frame.assign(reference_text=np.full(48, None, dtype=object))
    settings = corpora.joint(tones, text="reference")
    assert not corpora.utterances(replace(tones.corpus, frame=frame), settings).present[:, 1].any()


def test_without_emotions_their_gradient_is_zero_and_the_others_is_not(tones, tmp_path, monkeypatch):
    seen = {}
    forward = Steps._forward

    def watched(self, model, piece):
        unlabelled = piece.truth | {"emotion": torch.full_like(piece.truth["emotion"], -1)}
        result, part = forward(self, model, replace(piece, truth=unlabelled))
        loss, _ = self.objective.loss(part)
        network = self.context.network
        parts = {"emotion": network.heads["shared"].emotion, "attributes": network.heads["shared"].attributes}
        parts |= {"sentiment": network.heads["shared"].sentiment}
        for name, head in parts.items():
            (gradient,) = torch.autograd.grad(loss, head.weight, retain_graph=True)
            seen.setdefault(name, []).append(float(gradient.abs().max()))
        return result, part

    monkeypatch.setattr(Steps, "_forward", watched)
    run(tones, tmp_path, corpora.joint(tones, **TARGETS))
    assert set(seen["emotion"]) == {0.0}
    assert min(seen["attributes"]) > 0
    assert min(seen["sentiment"]) > 0


def test_emotions_beside_the_corpus_labels_count_in_every_other_loss(tones):
    corpus = replace(tones.corpus, labels=("anger", "sadness"))  # as corpus.labels restricts them
    settings = corpora.joint(tones, **corpora.merged(TARGETS, {"targets": {"pseudo_labels": False}}))
    targets = targets_of(corpus, settings)
    happy = corpus.frame["emotion"].to_numpy() == "happiness"
    assert targets.labels == ("anger", "sadness")
    assert set(targets.emotion[happy]) == {-1}
    train, _ = corpora.checked(corpus, settings)
    assert happy[train].sum() == 6
    assert np.isfinite(targets.attributes[happy & ~corpus.mask("test")][:, 1]).all()


@pytest.mark.parametrize(("shown", "expected"), [("audio", [12]), ("both", [12]), (None, [12, 12, 12])])
def test_early_stopping_sees_what_it_is_to_be_shown(tones, tmp_path, monkeypatch, shown, expected):
    from pipeline_lib.finetuning.train import Training

    seen, score = [], Training._score
    monkeypatch.setattr(
        Training,
        "_score",
        lambda self, steps, tally, rows, read: (
            seen.append((len(rows), read.read.combination)) or score(self, steps, tally, rows, read)
        ),
    )
    run(tones, tmp_path, corpora.joint(tones, early_stopping={"shown": shown}, phases={"only": {"epochs": 1}}))
    assert [n for n, _ in seen] == expected
    assert [combination for _, combination in seen] == ([shown] if shown else ["audio", "text", "both"])


def test_a_mean_over_passes_is_what_is_minimised(tones, tmp_path, monkeypatch):
    settings = corpora.joint(tones, max_steps=1, **TARGETS)

    def step(self, state, window, loaded):
        self.model.train()
        piece = next(self._pieces(state, window, loaded))
        result, part = self._forward(self.model, piece)
        loss, value = self.objective.loss(part)
        by_pass = [
            losses.combined(
                outputs,
                {name: values[rows] for name, values in piece.truth.items()},
                self.objective.weights,
                **self.objective.options,
            )[0]
            for rows, outputs in result.values()
        ]
        assert len(by_pass) == 3
        torch.testing.assert_close(loss, (by_pass[0] + by_pass[1] + by_pass[2]) / 3)
        assert value == pytest.approx(float(loss.detach()), rel=1e-6)
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path, settings)


def test_the_stage_writes_what_is_said_of_one_modality_alone_and_a_note_for_others(tones, tmp_path):
    phases = {"only": {"epochs": 1}}
    entries = {
        "joint": corpora.joint(tones, phases=phases),
        "text": corpora.settings(tones.llama, "text", phases=phases),
    }
    params = {
        "corpus": {"root": str(tones.root)},
        "finetuning": {name: entry.model_dump() for name, entry in entries.items()},
    }
    YAML().dump(params, tmp_path / "params.yaml")
    manifest.write(tmp_path / "manifest.parquet", tones.corpus)
    metadata = {"engine": "none", "checkpoint": "", "decoding": {}}
    transcripts.write(tmp_path / "transcripts.parquet", tones.corpus.ids, tones.texts, **metadata)
    paths = {"params": tmp_path / "params.yaml", "manifest_path": tmp_path / "manifest.parquet"}
    paths |= {
        "transcripts_path": tmp_path / "transcripts.parquet",
        "models": tmp_path / "models",
        "out": tmp_path / "p",
    }
    paths |= {"curves": tmp_path / "curves", "work": tmp_path / "work"}
    for name in entries:
        main(name, **paths)
    alone = tmp_path / "p_alone"
    assert sorted(path.name for path in (alone / "joint").iterdir()) == ["audio.parquet", "text.parquet"]
    assert [path.name for path in (alone / "text").iterdir()] == ["none.txt"]
    assert predictions.read(alone / "joint" / "audio.parquet").expert == "joint"
    assert len(predictions.read(tmp_path / "p" / "joint.parquet").utterance_ids) == 48


def test_modality_dropout_is_drawn_in_training_by_the_entrys_share(tones, tmp_path, monkeypatch):
    taken = []
    forward = Steps._forward

    def watched(self, model, piece):
        result, part = forward(self, model, piece)
        taken.append({name: len(rows) for name, (rows, _) in result.items()})
        return result, part

    monkeypatch.setattr(Steps, "_forward", watched)
    run(tones, tmp_path, corpora.joint(tones, modality_dropout=0.9))
    whole = sum(rows.get("both", 0) for rows in taken) / (2 * 24)  # two epochs of 24 utterances that have both
    assert 0 < whole < 0.4
