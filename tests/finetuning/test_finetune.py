"""Experts trained end to end on hisses and words: they learn, are scored and stop early."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline_lib.experts import disk
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.train import Training
from tests.finetuning import corpora
from tests.finetuning.runs import BOTH, LONG, LONG_AUDIO, SCORED, accuracy, run


def test_an_audio_expert_learns_hisses_with_categories_and_attributes(tones, tmp_path):
    result, _ = run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **LONG_AUDIO, **BOTH))
    corpus = tones.corpus
    assert result.labels == ("anger", "happiness", "sadness", "O")
    np.testing.assert_allclose(result.training_prior, 0.25)
    assert result.utterance_ids.tolist() == corpus.ids.tolist()
    assert result.embedding.shape == (len(corpus), 12)
    assert accuracy(result, corpus) > 0.75
    valence = corpus.attributes(["valence"])[:, 0]
    assert np.corrcoef(result.attributes[:, 1], valence)[0, 1] > 0.8
    assert 3 < result.attributes[:, 1].mean() < 8  # on the corpus's scale, where valence is 4 to 7


def test_a_text_expert_learns_words_through_transformers_classification_class(tones, tmp_path):
    result, _ = run(tones, tmp_path, corpora.settings(tones.llama, "text", **LONG, **SCORED))
    assert accuracy(result, tones.corpus) == 1.0


def test_with_shuffled_training_labels_an_expert_falls_to_chance(tones, tmp_path):
    frame = tones.corpus.frame.copy()
    train = np.flatnonzero(tones.corpus.mask("train"))
    by_label = train.reshape(4, -1).T.reshape(-1)  # an even mixture: each hiss gets every label equally often
    frame.loc[by_label, "emotion"] = frame["emotion"].to_numpy()[train]
    shuffled = replace(tones.corpus, frame=frame)
    assert sorted(frame["emotion"][train]) == sorted(tones.corpus.frame["emotion"][train])
    result, _ = run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **LONG_AUDIO), shuffled)
    assert accuracy(result, tones.corpus) < 0.6


def test_a_saved_expert_predicts_what_the_table_says(tones, tmp_path):
    result, _ = run(tones, tmp_path, corpora.settings(tones.llama, "text", **SCORED))
    network = disk.load(tmp_path / "models" / "tones", torch.device("cpu"))
    with torch.inference_mode():
        logits = network(network.encoder.prepare([(tones.texts[0],)]))["logits"].double()
    np.testing.assert_allclose(result.posterior[0], logits.softmax(dim=1)[0].numpy(), atol=1e-6)


def curve(folder, split):
    """Return the measured rows of a training curve, its scores without the split's name."""
    read = list(csv.DictReader((folder / "curve.csv").open()))
    return [
        {"epoch": row["epoch"], "phase": row["phase"]}
        | {key.removeprefix(f"{split}_"): value for key, value in row.items() if key.startswith(f"{split}_")}
        for row in read
        if row[f"{split}_loss"] != "nan"
    ]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_the_training_curve_has_a_row_an_epoch(tones, tmp_path, split):
    run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **BOTH))
    rows = curve(tmp_path, split)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert set(rows[0]) == {"epoch", "phase", "loss", "macro_f1", "ua", "mean_ccc"}
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("loss", "macro_f1", "ua", "mean_ccc"))


def test_early_stopping_ends_a_phase_and_the_best_epoch_is_kept(tones, tmp_path, monkeypatch):
    losses, weights = [0.9, 0.5, 0.7, 0.5, 0.1], []  # measured by script: nothing hangs on how a processor rounds

    def scores(training, steps):
        weights.append({name: values.clone() for name, values in training._weights().items()})
        return {"loss": losses[len(weights) - 1]}

    def run_and_keep(training, run=Training.run):
        history = run(training)
        weights.append(training._weights())
        return history

    monkeypatch.setattr(Training, "_development_scores", scores)
    monkeypatch.setattr(Training, "run", run_and_keep)
    changes = {"early_stopping": {"metric": "loss", "patience": 2}, "phases": {"only": {"epochs": 5}}}
    run(tones, tmp_path, corpora.settings(tones.llama, "text", **{**SCORED, **changes}))
    assert [float(row["loss"]) for row in curve(tmp_path, "dev")] == losses[:4]  # the second, and two not better
    *measured, best = weights
    same = [all(torch.equal(epoch[name], best[name]) for name in best) for epoch in measured]
    assert same == [False, True, False, False]


def test_the_development_split_is_measured_every_few_epochs_and_in_the_end(tones, tmp_path):
    changes = {"early_stopping": {"every": 2}, "phases": {"only": {"epochs": 3}}}
    run(tones, tmp_path, corpora.settings(tones.llama, "text", **{**SCORED, **changes}))
    assert [row["epoch"] for row in curve(tmp_path, "train")] == ["1", "2", "3"]
    assert [row["epoch"] for row in curve(tmp_path, "dev")] == ["2", "3"]


def test_gradient_checkpointing_changes_nothing_but_the_memory(tones, tmp_path):
    plain, _ = run(tones, tmp_path / "plain", corpora.settings(tones.w2v_bert, "audio"))
    sparing, _ = run(
        tones, tmp_path / "sparing", corpora.settings(tones.w2v_bert, "audio", gradient_checkpointing=True)
    )
    np.testing.assert_allclose(plain.posterior, sparing.posterior, atol=1e-4)


def test_accumulated_batches_make_one_step(tones, tmp_path, monkeypatch):
    steps, step = [], Steps._step
    monkeypatch.setattr(
        Steps, "_step", lambda self, state, window, *rest: steps.append(len(window)) or step(self, state, window, *rest)
    )
    phases = {"only": {"gradient_accumulation_steps": 3, "epochs": 1}}
    run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", phases=phases))
    assert steps == [3, 1]  # four batches
