"""Losses against hand-worked values, the NumPy metrics and finite gradients."""

import numpy as np
import pytest
import torch

from pipeline_lib import metrics
from pipeline_lib.losses import combined, concordance, cross_entropy, focal

NAN = float("nan")


def logits_of(*posteriors):
    """Return logits whose softmax is the posteriors."""
    return torch.tensor(posteriors).log()


def test_cross_entropy_is_the_mean_of_the_negative_log_posteriors():
    # -(ln 0.5 + ln 0.25) / 2 = (0.693147 + 1.386294) / 2
    loss = cross_entropy(logits_of([0.5, 0.5], [0.75, 0.25]), torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor(1.0397208))


def test_class_weights_make_a_weighted_mean():
    # (3 ln 2 + 1 ln 4) / (3 + 1) = 5 ln 2 / 4
    loss = cross_entropy(logits_of([0.5, 0.5], [0.75, 0.25]), torch.tensor([0, 1]), torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(loss, torch.tensor(0.8664340))


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 4.0]])
def test_cross_entropy_equals_torchs(weights):
    generator = torch.Generator().manual_seed(1)
    logits, truth = torch.randn(50, 4, generator=generator), torch.randint(-1, 4, (50,), generator=generator)
    weights = None if weights is None else torch.tensor(weights)
    expected = torch.nn.functional.cross_entropy(logits, truth, weight=weights, ignore_index=-1)
    torch.testing.assert_close(cross_entropy(logits, truth, weights), expected)


def test_focal_loss_counts_less_what_is_already_right():
    # gamma 2: (0.5^2 ln 2 + 0.1^2 (-ln 0.9)) / 2 = (0.25 * 0.693147 + 0.01 * 0.105361) / 2
    loss = focal(logits_of([0.5, 0.5], [0.1, 0.9]), torch.tensor([0, 1]), gamma=2.0)
    torch.testing.assert_close(loss, torch.tensor(0.0871702), rtol=1e-5, atol=0)


def test_focal_loss_with_class_weights_written_again():
    generator = np.random.default_rng(2)
    logits, truth, weights = generator.normal(size=(30, 3)), generator.integers(0, 3, 30), np.array([0.2, 1.0, 3.0])
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p, w = posterior[np.arange(30), truth], weights[truth]
    expected = np.sum(w * (1 - p) ** 1.5 * -np.log(p)) / np.sum(w)
    loss = focal(torch.tensor(logits), torch.tensor(truth), 1.5, torch.tensor(weights))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_of_a_certain_and_right_answer_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0]), gamma=0.5).backward()
    assert torch.isfinite(logits.grad).all()


def test_concordance_by_hand():
    # truth 1 2 3, prediction 2 3 4: 2 (2/3) / (2/3 + 2/3 + 1) = 4/7
    loss = concordance(torch.tensor([[2.0], [3.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
    assert loss.item() == pytest.approx(1 - 4 / 7, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_concordance_equals_the_metric(seed):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(-1, 1, (40, 3))
    prediction = (0.5 * truth + generator.normal(scale=0.4, size=(40, 3)) + 0.1).astype(np.float32)
    expected = 1 - np.mean([metrics.concordance(truth[:, i], prediction[:, i].astype(float)) for i in range(3)])
    assert concordance(torch.tensor(prediction), torch.tensor(truth)).item() == pytest.approx(expected, abs=1e-6)


def test_concordance_equals_torchmetrics_up_to_its_n_minus_one():
    from torchmetrics.functional import concordance_corrcoef

    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(1000, 1, generator=generator)
    prediction = truth + torch.randn(1000, 1, generator=generator)
    assert 1 - concordance(prediction, truth).item() == pytest.approx(
        concordance_corrcoef(prediction[:, 0], truth[:, 0]).item(), abs=1e-3
    )


def test_missing_attributes_are_left_out_and_get_no_gradient():
    prediction = torch.tensor([[0.1, 5.0], [0.4, 6.0], [0.2, 7.0], [9.0, 8.0]], requires_grad=True)
    truth = torch.tensor([[0.0, NAN], [0.5, NAN], [0.3, NAN], [NAN, NAN]])
    loss = concordance(prediction, truth)
    loss.backward()
    expected = 1 - metrics.concordance(np.array([0.0, 0.5, 0.3]), np.array([0.1, 0.4, 0.2]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (prediction.grad[:3, 0] != 0).all()
    assert (prediction.grad[3] == 0).all()
    assert (prediction.grad[:, 1] == 0).all()


def test_missing_labels_get_no_gradient():
    logits = torch.zeros(3, 2, requires_grad=True)
    cross_entropy(logits, torch.tensor([0, -1, 1])).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "concordance"])
def test_a_batch_without_any_truth_has_loss_and_gradient_zero(name):
    outputs = {"logits": torch.randn(4, 3, requires_grad=True), "attributes": torch.randn(4, 2, requires_grad=True)}
    batch = {"emotion": torch.full((4,), -1), "attributes": torch.full((4, 2), NAN)}
    loss, _ = combined(outputs, batch, {name: 1.0})
    loss.backward()
    touched = outputs["attributes" if name == "concordance" else "logits"]
    assert loss.item() == 0
    assert (touched.grad == 0).all()


@pytest.mark.parametrize(
    ("prediction", "truth"), [([0.3, 0.3], [0.3, 0.3]), ([0.1, 0.2], [0.3, 0.3]), ([0.3, 0.3], [0.1, 0.2])]
)
def test_constant_batches_stay_finite(prediction, truth):
    prediction = torch.tensor(prediction)[:, None].requires_grad_()
    loss = concordance(prediction, torch.tensor(truth)[:, None])
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-4)
    assert torch.isfinite(prediction.grad).all()


def test_an_attribute_known_once_in_a_batch_is_left_out():
    truth = torch.tensor([[0.1, 0.5], [0.2, NAN], [0.4, NAN]])
    both = concordance(torch.tensor([[0.2, 9.0], [0.3, 9.0], [0.3, 9.0]]), truth)
    torch.testing.assert_close(both, concordance(torch.tensor([[0.2], [0.3], [0.3]]), truth[:, :1]))


def test_half_precision_logits_are_scored_in_float32():
    logits = torch.randn(8, 3).bfloat16()
    assert cross_entropy(logits, torch.zeros(8, dtype=torch.int64)).dtype == torch.float32


def test_losses_are_combined_by_their_weights():
    outputs = {"logits": torch.randn(6, 3), "attributes": torch.randn(6, 2)}
    batch = {"emotion": torch.tensor([0, 1, 2, 0, 1, -1]), "attributes": torch.randn(6, 2)}
    total, parts = combined(outputs, batch, {"cross_entropy": 0.5, "concordance": 2.0, "focal": 0.0})
    assert set(parts) == {"cross_entropy", "concordance"}
    torch.testing.assert_close(total, 0.5 * parts["cross_entropy"] + 2.0 * parts["concordance"])


def test_an_unknown_loss_and_no_loss_are_refused():
    with pytest.raises(ValueError, match="there is no loss 'hinge'"):
        combined({}, {}, {"hinge": 1.0})
    with pytest.raises(ValueError, match="no loss has a weight above 0"):
        combined({}, {}, {"focal": 0.0})
