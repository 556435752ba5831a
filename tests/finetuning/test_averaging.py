"""The moving average of the weights: by its equation, in the network and out again, and in a training."""

import numpy as np
import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.averaging import WeightAverage
from pipeline_lib.finetuning.steps import Steps
from tests.finetuning import corpora
from tests.finetuning.runs import run


def network():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    layers[2].requires_grad_(False)
    return layers


def moved(layers, generator):
    with torch.no_grad():
        for tensor in (*layers[0].parameters(), *layers[1].parameters(), *layers[1].buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator))


def test_the_average_is_the_equations_and_the_network_has_its_own_weights_afterwards():
    layers, generator = network(), torch.Generator().manual_seed(1)
    average = WeightAverage(layers, 0.3)
    expected = {name: values.double().numpy().copy() for name, values in layers.state_dict().items()}
    for step in range(6):
        moved(layers, generator)
        average.update(layers, step)
        decay = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3][step]  # (1 + t) / (10 + t) up to .3
        for name, values in layers.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * values.double().numpy()
    own = {name: values.clone() for name, values in layers.state_dict().items()}
    with average.in_place(layers):
        inside = {name: values.clone() for name, values in layers.state_dict().items()}
    for name, values in layers.state_dict().items():
        assert torch.equal(values, own[name])
        if name != "1.num_batches_tracked":
            np.testing.assert_allclose(inside[name].numpy(), expected[name], rtol=0, atol=1e-6)
    assert torch.equal(inside["2.weight"], own["2.weight"])  # it is not trained
    assert not torch.equal(inside["1.running_mean"], own["1.running_mean"])


def test_a_checkpoints_tensors_restore_the_average_to_the_bit():
    layers = network()
    average = WeightAverage(layers, 0.9)
    moved(layers, torch.Generator().manual_seed(1))
    average.update(layers, 0)
    again = WeightAverage(layers, 0.9)
    rest = again.restore({**average.tensors(), "0.weight:exp_avg": torch.zeros(1)})
    assert list(rest) == ["0.weight:exp_avg"]
    assert all(torch.equal(values, average.values[name]) for name, values in again.values.items())


ALL = {
    "augmentation": {"mixing": {"probability": 0.5}},
    "targets": {"soft_labels": True, "annotator_dropout": 0.3},
    "losses": {"label_smoothing": 0.1},
    "phases": {"only": {"ema_decay": 0.5}},
}


def test_a_training_saves_the_average_and_goes_on_after_a_kill_to_the_same_bytes(tones, tmp_path, monkeypatch):
    frame = tones.corpus.frame.assign(votes=[{label: 3, "anger": 1} for label in tones.corpus.frame["emotion"]])
    corpus = type(tones.corpus)(frame, "tones", tones.corpus.labels, tones.corpus.attribute_scale)
    settings = corpora.settings(tones.w2v_bert, "audio", **ALL)
    raw, best, step = {}, {}, Steps._step
    write, write_best, begin = checkpoints.write, checkpoints.write_best, WeightAverage.__init__

    def began(self, trained, decay):
        begin(self, trained, decay)
        raw[0] = {name: values.numpy().copy() for name, values in self.values.items()}

    monkeypatch.setattr(WeightAverage, "__init__", began)
    monkeypatch.setattr(
        checkpoints,
        "write",
        lambda folder, state, weights, rest: (
            raw.setdefault(state.total, {name: values.numpy().copy() for name, values in weights.items()})
            and write(folder, state, weights, rest)
        ),
    )
    monkeypatch.setattr(
        checkpoints,
        "write_best",
        lambda folder, state, weights: best.update({state.total: weights}) or write_best(folder, state, weights),
    )
    _, whole = run(tones, tmp_path / "whole", settings, corpus, save_steps=1)
    expected = raw[0]
    for total in range(1, 1 + max(best)):
        decay = min(0.5, total / (9 + total))
        expected = {name: decay * values + (1 - decay) * raw[total][name] for name, values in expected.items()}
    for name, values in expected.items():
        np.testing.assert_allclose(best[max(best)][name].numpy(), values, rtol=0, atol=1e-5)
    monkeypatch.undo()

    def killed(self, state, *rest):
        if state.total == 6:  # of 8: in the second epoch
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, corpus, save_steps=1)
    monkeypatch.undo()
    _, resumed = run(tones, tmp_path / "killed", settings, corpus, save_steps=1, workers=2)
    assert resumed == whole


def test_label_smoothing_without_a_loss_of_labels_is_refused(tones):
    targets = {"emotion": False, "attributes": ["arousal"]}
    losses = {"cross_entropy": 0.0, "concordance": 1.0, "label_smoothing": 0.1}
    with pytest.raises(InputError, match="label_smoothing 0.1 in its losses and gives neither cross_entropy nor focal"):
        corpora.settings(tones.w2v_bert, "audio", targets=targets, losses=losses, early_stopping={"metric": "mean_ccc"})
