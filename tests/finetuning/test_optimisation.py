"""Schedules, class weights and priors by hand."""

import numpy as np
import pytest
import torch

from pipeline_lib.finetuning import optimisation
from pipeline_lib.params.training import LossSettings, PhaseSettings

COUNTS = np.array([60, 30, 10])


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("constant_with_warmup", [0.5, 1.0, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("cosine", [0.5, 1.0, *(0.5 * (1 + np.cos(np.pi * np.arange(8) / 8)))]),
    ],
)
def test_the_rate_rises_and_falls(decay, expected):
    phase = PhaseSettings(warmup_steps=0.2, lr_scheduler_type=decay)
    np.testing.assert_allclose([optimisation.share_of_peak(i, 10, phase) for i in range(10)], expected, atol=1e-12)


def test_a_warm_up_of_whole_steps_is_as_long_as_it_says():
    phase = PhaseSettings(warmup_steps=4, lr_scheduler_type="constant_with_warmup")
    assert [optimisation.share_of_peak(i, 1000, phase) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_without_warm_up_the_first_step_has_the_peak():
    assert optimisation.share_of_peak(0, 5, PhaseSettings(warmup_steps=0.0)) == 1.0


def test_balanced_class_weights_by_hand():
    # 100 / (3 * 60), 100 / (3 * 30), 100 / (3 * 10)
    weights = optimisation.class_weights(COUNTS, LossSettings(class_weights="balanced"))
    np.testing.assert_allclose(weights, [5 / 9, 10 / 9, 10 / 3])
    assert optimisation.class_weights(COUNTS, LossSettings()) is None


@pytest.mark.parametrize(
    ("sampler", "class_weights", "expected"),
    [
        ("natural", "none", [0.6, 0.3, 0.1]),
        ("natural", "balanced", [1 / 3, 1 / 3, 1 / 3]),
        ("balanced", "none", [1 / 3, 1 / 3, 1 / 3]),
        ("balanced", "balanced", [0.1, 0.2, 0.6]),  # 1/60 : 1/30 : 1/10 = 1 : 2 : 6, of 9 in all
        ("annealed", "none", [0.4, 0.325, 0.275]),  # 3/4 of 1/3 each and 1/4 of the frequencies
    ],
)
def test_the_training_prior_is_what_weights_and_sampler_made_of_the_frequencies(sampler, class_weights, expected):
    expected = np.array(expected) / np.sum(expected)
    phase, losses = PhaseSettings(sampler=sampler, epochs=5), LossSettings(class_weights=class_weights)
    np.testing.assert_allclose(optimisation.training_prior(COUNTS, phase, losses, epoch=1), expected)


@pytest.mark.parametrize(
    ("epochs", "epoch", "expected"),
    [
        (3, 0, [1 / 3, 1 / 3, 1 / 3]),
        (3, 1, [7 / 15, 19 / 60, 13 / 60]),  # half of 1/3 each, half of 0.6, 0.3, 0.1
        (3, 2, [0.6, 0.3, 0.1]),
        (1, 0, [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_annealed_shares_move_from_equal_ones_to_the_frequencies(epochs, epoch, expected):
    phase = PhaseSettings(sampler="annealed", epochs=epochs)
    np.testing.assert_allclose(optimisation.drawn_shares(COUNTS, phase, epoch), expected, atol=1e-15)


@pytest.mark.parametrize(("optimiser", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_encoder_and_head_may_have_rates_of_their_own(optimiser, kind):
    network = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    phase = PhaseSettings(optim=optimiser, learning_rate=1e-4, head_learning_rate=1e-2, weight_decay=0.1)
    made = optimisation.optimiser_of(network, phase)
    assert type(made) is kind
    assert optimisation.set_rate(made, 0.5) == pytest.approx(5e-5)
    assert [group["lr"] for group in made.param_groups] == pytest.approx([5e-5, 5e-3])
    assert all(group["weight_decay"] == 0.1 for group in made.param_groups)


def test_an_optimiser_put_back_steps_on_as_if_it_had_never_stopped():
    def made():
        torch.manual_seed(0)
        network = torch.nn.ModuleDict({"head": torch.nn.Linear(3, 2)})
        return network, optimisation.optimiser_of(network, PhaseSettings())

    def step(network, optimiser, value):
        optimiser.zero_grad()
        network["head"](torch.full((1, 3), value)).square().sum().backward()
        optimiser.step()

    network, optimiser = made()
    step(network, optimiser, 1.0)
    flat, weights = optimisation.flatten(optimiser, network), {k: v.clone() for k, v in network.state_dict().items()}
    step(network, optimiser, 2.0)
    again, other = made()
    again.load_state_dict(weights)
    optimisation.restore(other, again, flat)
    step(again, other, 2.0)
    assert all(torch.equal(again.state_dict()[name], values) for name, values in network.state_dict().items())


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_prior_of_smoothed_labels_is_what_a_model_without_inputs_learns(class_weights):
    losses = LossSettings(label_smoothing=0.3, class_weights=class_weights)
    by_class = optimisation.class_weights(COUNTS, losses)
    weight = None if by_class is None else torch.tensor(by_class)
    truth = torch.from_numpy(np.repeat(np.arange(3), COUNTS))
    prior = torch.tensor(optimisation.training_prior(COUNTS, PhaseSettings(), losses, epoch=0))
    bias = prior.log().requires_grad_()
    torch.nn.functional.cross_entropy(bias.expand(100, 3), truth, weight=weight, label_smoothing=0.3).backward()
    np.testing.assert_allclose(bias.grad.numpy(), 0.0, atol=1e-12)  # its loss has its minimum there
