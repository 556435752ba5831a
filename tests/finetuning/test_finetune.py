"""Experts trained end to end on hisses and words: they learn, repeat, resume and fail as they should."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline_lib import experts
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.finetune import discard, finetune
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.train import Training
from pipeline_lib.networks.network import Network
from pipeline_lib.tables import predictions
from tests.finetuning import corpora


def run(tones, folder, settings, corpus=None, name="tones", **how):
    """Train into a folder; return the predictions and the bytes of everything that was written."""
    corpus = tones.corpus if corpus is None else corpus
    texts = tones.texts if settings.modality == "text" else None
    places = {"expert": folder / "models" / name, "curve": folder / "curve.csv", "work": folder / "work"}
    places |= {"machine": corpora.machine(**how)}
    found, unfinished = finetune(name, settings, corpus, tones.root, texts, **places)
    predictions.write(folder / "predictions.parquet", found)
    discard(unfinished)
    files = [*sorted(places["expert"].iterdir()), places["curve"], folder / "predictions.parquet"]
    return found, {file.name: file.read_bytes() for file in files}


def accuracy(found, corpus, split="test"):
    truth, rows = corpus.truth(), corpus.mask(split) & (corpus.truth() >= 0)
    return float((found.posterior[rows, : len(corpus.labels)].argmax(axis=1) == truth[rows]).mean())


LONG = {
    "adaptation": {"method": "full"},
    "phases": {"only": {"epochs": 12, "chunk_s": None}},
    "early_stopping": {"patience": None},
}
BOTH = {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}}
SCORED = {"head": {"kind": "sequence_classification"}, "text": "reference"}


def test_an_audio_expert_learns_hisses_with_categories_and_attributes(tones, tmp_path):
    found, _ = run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **LONG, **BOTH))
    corpus = tones.corpus
    assert found.labels == ("anger", "happiness", "sadness", "O")
    np.testing.assert_allclose(found.trained_prior, 0.25)
    assert found.utterance_ids.tolist() == corpus.ids.tolist()
    assert found.embedding.shape == (len(corpus), 12)
    assert accuracy(found, corpus) > 0.75
    valence = corpus.attributes(["valence"])[:, 0]
    assert np.corrcoef(found.attributes[:, 1], valence)[0, 1] > 0.8
    assert 3 < found.attributes[:, 1].mean() < 8  # on the corpus's scale, where valence is 4 to 7


def test_a_text_expert_learns_words_through_transformers_classification_class(tones, tmp_path):
    found, _ = run(tones, tmp_path, corpora.settings(tones.llama, "text", **LONG, **SCORED))
    assert accuracy(found, tones.corpus) == 1.0


def test_with_shuffled_training_labels_an_expert_falls_to_chance(tones, tmp_path):
    frame = tones.corpus.frame.copy()
    train = np.flatnonzero(tones.corpus.mask("train"))
    by_label = train.reshape(4, -1).T.reshape(-1)  # an even mixture: each hiss gets every label equally often
    frame.loc[by_label, "emotion"] = frame["emotion"].to_numpy()[train]
    shuffled = replace(tones.corpus, frame=frame)
    assert sorted(frame["emotion"][train]) == sorted(tones.corpus.frame["emotion"][train])
    found, _ = run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", **LONG), shuffled)
    assert accuracy(found, tones.corpus) < 0.6


@pytest.mark.parametrize(("name", "modality", "changes"), [("w2v_bert", "audio", BOTH), ("llama", "text", SCORED)])
def test_two_runs_give_the_same_bytes(tones, tmp_path, name, modality, changes):
    settings = corpora.settings(getattr(tones, name), modality, **changes)
    one, two = (run(tones, tmp_path / each, settings)[1] for each in "12")
    assert one == two


@pytest.mark.parametrize("killed_after", [3, 5, 11])
def test_a_run_killed_after_a_checkpoint_goes_on_to_the_same_bytes(tones, tmp_path, monkeypatch, killed_after):
    # steps 1 to 8 are the first phase (2 epochs of 4), 9 to 12 the second: killed mid-epoch in both
    phase = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003, "chunk_s": [0.3, 0.4]}
    second = {**phase, "epochs": 1, "train": "head", "sampler": "balanced", "optimiser": "adamw"}
    settings = corpora.settings(tones.w2v_bert, "audio", phases={"only": phase, "then": second}, **BOTH)
    _, whole = run(tones, tmp_path / "whole", settings, save_steps=1)

    step = Steps._step

    def killed(self, state, *rest):
        if state.total == killed_after:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    steps = []
    monkeypatch.setattr(
        Steps, "_step", lambda self, state, *rest: steps.append(state.total) or step(self, state, *rest)
    )
    _, resumed = run(tones, tmp_path / "killed", settings, save_steps=1)
    assert steps == list(range(killed_after, 12))
    assert resumed == whole


def test_workers_and_process_restarts_do_not_change_what_is_learned(tones, tmp_path):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, alone = run(tones, tmp_path / "0", settings)
    _, helped = run(tones, tmp_path / "2", settings, workers=2)
    assert alone == helped


def test_audio_kept_in_memory_trains_the_same(tones, tmp_path):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, decoded = run(tones, tmp_path / "decoded", settings, cache_audio_gb=0.0)
    _, kept = run(tones, tmp_path / "kept", settings, cache_audio_gb=1.0)
    assert decoded == kept


def test_a_saved_expert_predicts_what_the_table_says(tones, tmp_path):
    found, _ = run(tones, tmp_path, corpora.settings(tones.llama, "text", **SCORED))
    network = experts.load(tmp_path / "models" / "tones", torch.device("cpu"))
    with torch.inference_mode():
        logits = network(network.encoder.prepare(tones.texts[:1]))["logits"].double()
    np.testing.assert_allclose(found.posterior[0], logits.softmax(dim=1)[0].numpy(), atol=1e-6)


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


def test_event_files_lie_under_work_and_checkpoints_are_gone_in_the_end(tones, tmp_path):
    run(tones, tmp_path, corpora.settings(tones.llama, "text", **SCORED))
    left = [file.name for file in (tmp_path / "work").rglob("*") if file.is_file()]
    assert any(name.startswith("events.out.tfevents") for name in left)
    assert "metrics.json" in left  # dvclive's
    assert not any(name.endswith((".safetensors", ".parquet")) for name in left)


def test_early_stopping_ends_a_phase_and_the_best_epoch_is_kept(tones, tmp_path, monkeypatch):
    losses, weights = [0.9, 0.5, 0.7, 0.5, 0.1], []  # measured by script: nothing hangs on how a processor rounds

    def scores(training, steps):
        weights.append({name: each.clone() for name, each in training._weights().items()})
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
    *measured, kept = weights
    same = [all(torch.equal(each[name], kept[name]) for name in kept) for each in measured]
    assert same == [False, True, False, False]


def test_the_development_split_is_measured_every_few_epochs_and_in_the_end(tones, tmp_path):
    changes = {"early_stopping": {"every": 2}, "phases": {"only": {"epochs": 3}}}
    run(tones, tmp_path, corpora.settings(tones.llama, "text", **{**SCORED, **changes}))
    assert [row["epoch"] for row in curve(tmp_path, "train")] == ["1", "2", "3"]
    assert [row["epoch"] for row in curve(tmp_path, "dev")] == ["2", "3"]


def test_when_memory_runs_out_once_the_batch_is_halved_visibly(tones, tmp_path, monkeypatch, capsys):
    sizes = limit_memory(monkeypatch, 3)
    run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio"))
    assert "out of memory with batch_size 6; going on with half of it" in capsys.readouterr().err
    assert sizes == [6] + [3] * 16  # 24 utterances, two epochs


def test_when_memory_runs_out_twice_the_remedy_is_told(tones, tmp_path, monkeypatch):
    limit_memory(monkeypatch, 2)
    expected = (
        r"out of memory with finetuning\.tones\.phases\.only\.batch_size 6, cut in two; lower it and raise accumulation"
    )
    with pytest.raises(InputError, match=expected):
        run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio"))


def limit_memory(monkeypatch, largest):
    """Let a training batch above the largest run out of memory, and return the sizes that were tried."""
    sizes, forward = [], Network.forward

    def limited(self, inputs):
        size = len(inputs["input_features"])
        if self.training:
            sizes.append(size)
            if size > largest:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, inputs)

    monkeypatch.setattr(Network, "forward", limited)
    return sizes


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_likely_cause(tones, tmp_path):
    phases = {"only": {"learning_rate": 1e30, "max_gradient_norm": None, "warmup_share": 0.0}}
    expected = r"the loss is (nan|inf) at step \d+ of finetuning\.tones\.phases\.only \(learning rate .*is too high"
    with pytest.raises(InputError, match=expected):
        run(tones, tmp_path, corpora.settings(tones.llama, "text", phases=phases, **SCORED))


def test_a_damaged_checkpoint_is_passed_over(tones, tmp_path, monkeypatch):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, whole = run(tones, tmp_path / "whole", settings, save_steps=1)
    step = Steps._step

    def killed(self, state, *rest):
        if state.total == 3:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    newest = max((tmp_path / "killed").rglob("checkpoint_*/weights.safetensors"))
    newest.write_bytes(newest.read_bytes()[:100])
    assert run(tones, tmp_path / "killed", settings, save_steps=1)[1] == whole


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
    phases = {"only": {"accumulation": 3, "epochs": 1}}
    run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio", phases=phases))
    assert steps == [3, 1]  # four batches


def test_lora_without_effect_is_refused_at_the_first_step(tones, tmp_path, monkeypatch):
    from pipeline_lib.networks import adapters

    monkeypatch.setattr(adapters, "_without_idle", lambda model, found, settings: found)
    with pytest.raises(InputError, match=r"LoRA on .*_proj gets no gradient, the encoder never calls that layer"):
        run(tones, tmp_path, corpora.settings(tones.wavlm_layer, "audio"))


def test_checkpoints_of_other_settings_are_not_gone_on_from(tones, tmp_path):
    settings = corpora.settings(tones.llama, "text", **SCORED)
    finetune(
        "t",
        settings,
        tones.corpus,
        tones.root,
        tones.texts,
        expert=tmp_path / "m",
        curve=tmp_path / "c",
        work=tmp_path / "w",
        machine=corpora.machine(),
    )
    other = settings.model_copy(update={"seed": 2})
    finetune(
        "t",
        other,
        tones.corpus,
        tones.root,
        tones.texts,
        expert=tmp_path / "m",
        curve=tmp_path / "c",
        work=tmp_path / "w",
        machine=corpora.machine(),
    )
    assert len(list((tmp_path / "w" / "t").iterdir())) == 2
    assert all(checkpoints.latest(place) is not None for place in (tmp_path / "w" / "t").iterdir())


@pytest.mark.parametrize(
    ("name", "modality", "changes"),
    [("w2v_bert", "audio", BOTH), pytest.param("llama", "text", SCORED, marks=pytest.mark.acceptance)],
)
def test_workers_that_load_the_saved_expert_predict_the_same_bytes(tones, tmp_path, name, modality, changes):
    settings = corpora.settings(getattr(tones, name), modality, **changes)
    _, alone = run(tones, tmp_path / "alone", settings)
    _, spread = run(tones, tmp_path / "spread", settings, executor={"workers": 2})
    assert spread == alone
    folders = [next((tmp_path / each / "work" / "tones").iterdir()).name for each in ("alone", "spread")]
    assert folders[0] == folders[1]
