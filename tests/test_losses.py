"""Losses against hand-worked values, the NumPy metrics and finite gradients."""

import numpy as np
import pytest
import torch

from pipeline_lib.losses import combined, concordance, cross_entropy, focal
from pipeline_lib.metrics import attributes

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


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 4.0]])
def test_smoothed_cross_entropy_equals_torchs(weights):
    generator = torch.Generator().manual_seed(4)
    truth = torch.randint(-1, 4, (50,), generator=generator)
    right = torch.nn.functional.one_hot(truth.clamp_min(0), 4)  # a small loss, so that float32 has 1e-7
    logits = 0.5 * torch.randn(50, 4, generator=generator) + 3 * right
    weights = None if weights is None else torch.tensor(weights)
    for smoothing in (0.02, 0.1):
        expected = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=-1, label_smoothing=smoothing)(logits, truth)
        result = focal(logits, truth, 0.0, weights, smoothing=smoothing)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-7)


def test_smoothed_cross_entropy_of_distributions_equals_torchs():
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(50, 4, generator=generator)
    truth = torch.randn(50, 4, generator=generator).softmax(dim=1)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.3)(logits, truth)
    torch.testing.assert_close(focal(logits, truth, 0.0, smoothing=0.3), expected, rtol=2e-7, atol=0)


def test_smoothed_focal_loss_of_distributions_written_again():
    generator = np.random.default_rng(6)
    logits, weights = generator.normal(size=(30, 3)), np.array([0.2, 1.0, 3.0])
    truth = generator.dirichlet([1, 1, 1], size=30)
    truth[4] = 0.0  # missing
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    numerator = denominator = 0.0
    for p, t in zip(posterior, truth, strict=True):
        for k in range(3):
            if t.sum() > 0:
                numerator -= weights[k] * (0.8 * t[k] + 0.2 / 3) * (1 - p[k]) ** 2 * np.log(p[k])
                denominator += weights[k] * t[k]
    loss = focal(torch.tensor(logits), torch.tensor(truth), 2.0, torch.tensor(weights), smoothing=0.2)
    assert loss.item() == pytest.approx(numerator / denominator, rel=1e-6)


def test_concordance_by_hand():
    # truth 1 2 3, prediction 2 3 4: 2 (2/3) / (2/3 + 2/3 + 1) = 4/7
    loss = concordance(torch.tensor([[2.0], [3.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]]))
    assert loss.item() == pytest.approx(1 - 4 / 7, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_concordance_equals_the_metric(seed):
    generator = np.random.default_rng(seed)
    truth = generator.uniform(-1, 1, (40, 3))
    prediction = (0.5 * truth + generator.normal(scale=0.4, size=(40, 3)) + 0.1).astype(np.float32)
    expected = 1 - np.mean([attributes.concordance(truth[:, i], prediction[:, i].astype(float)) for i in range(3)])
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
    expected = 1 - attributes.concordance(np.array([0.0, 0.5, 0.3]), np.array([0.1, 0.4, 0.2]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (prediction.grad[:3, 0] != 0).all()
    assert (prediction.grad[3] == 0).all()
    assert (prediction.grad[:, 1] == 0).all()


def soft(n=30, n_labels=4, seed=5):
    """Return logits, distributions of which every fifth is missing, and class weights, float64."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(n_labels), n)
    shares[::5] = 0.0
    return generator.normal(size=(n, n_labels)), shares, generator.uniform(0.2, 3.0, n_labels)


def test_soft_labels_by_hand():
    # p = (1/2, 1/2) with t = (3/4, 1/4), and p = (1/4, 3/4) with t = (0, 1); w = (2, 1)
    # cross-entropy: (ln 2 + ln 4/3) / 2; weighted: (2 * 3/4 ln 2 + 1/4 ln 2 + ln 4/3) / (3/2 + 1/4 + 1)
    # weighted, gamma 1: (7/4 * 1/2 ln 2 + 1/4 ln 4/3) / (11/4)
    logits, truth = logits_of([0.5, 0.5], [0.25, 0.75]), torch.tensor([[0.75, 0.25], [0.0, 1.0]])
    weights, two, four_thirds = torch.tensor([2.0, 1.0]), np.log(2), np.log(4 / 3)
    assert cross_entropy(logits, truth).item() == pytest.approx((two + four_thirds) / 2, rel=1e-6)
    expected = (1.75 * two + four_thirds) / 2.75
    assert cross_entropy(logits, truth, weights).item() == pytest.approx(expected, rel=1e-6)
    expected = (0.875 * two + 0.25 * four_thirds) / 2.75
    assert focal(logits, truth, 1.0, weights).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_of_soft_labels_written_again(gamma, weighted):
    logits, shares, weights = soft()
    above = below = 0.0
    for row, t in zip(logits, shares, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        for k in range(4):
            w = weights[k] if weighted else 1.0
            above -= t[k] * w * (1 - p[k]) ** gamma * np.log(p[k])
            below += t[k] * w
    chosen = torch.tensor(weights) if weighted else None
    loss = focal(torch.tensor(logits), torch.tensor(shares).float(), gamma, chosen)
    assert loss.item() == pytest.approx(above / below, rel=1e-6)


def test_cross_entropy_of_soft_labels_equals_torchs():
    logits, shares, _ = soft()
    known = shares.sum(axis=1) > 0
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits[known]).float(), torch.tensor(shares[known]).float()
    )
    torch.testing.assert_close(cross_entropy(torch.tensor(logits), torch.tensor(shares)), expected)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_certain_soft_labels_are_labels_to_the_bit_in_loss_and_gradient(gamma):
    generator = torch.Generator().manual_seed(1)
    truth, weights = torch.randint(-1, 4, (50,), generator=generator), torch.tensor([0.5, 2.0, 1.0, 4.0])
    certain = torch.nn.functional.one_hot(truth + 1, 5)[:, 1:].float()  # zeros where -1
    values = torch.randn(50, 4, generator=generator)
    result = []
    for target in (truth, certain):
        logits = values.clone().requires_grad_()
        loss = focal(logits, target, gamma, weights)
        loss.backward()
        result.append((loss, logits.grad))
    assert torch.equal(result[0][0], result[1][0]) and torch.equal(result[0][1], result[1][1])


def test_the_gradient_of_soft_labels_is_posterior_minus_target_and_nothing_where_missing():
    logits, shares, _ = soft()
    leaf = torch.tensor(logits, dtype=torch.float32).requires_grad_()
    cross_entropy(leaf, torch.tensor(shares).float()).backward()
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    known = shares.sum(axis=1) > 0
    expected = np.where(known[:, None], posterior - shares, 0.0) / known.sum()
    np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=1e-7)
    assert (leaf.grad[::5] == 0).all()


def test_missing_labels_get_no_gradient():
    logits = torch.zeros(3, 2, requires_grad=True)
    cross_entropy(logits, torch.tensor([0, -1, 1])).backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize(
    ("name", "output"),
    [("cross_entropy", "logits"), ("focal", "logits"), ("concordance", "attributes"), ("gender", "gender")],
)
@pytest.mark.parametrize("emotion", [torch.full((4,), -1), torch.zeros(4, 3)], ids=["labels", "soft"])
def test_a_batch_without_any_truth_has_loss_and_gradient_zero(name, output, emotion):
    outputs = {name: torch.randn(4, n, requires_grad=True) for name, n in (("logits", 3), ("attributes", 2))}
    outputs["gender"] = torch.randn(4, 2, requires_grad=True)
    batch = {"emotion": emotion, "attributes": torch.full((4, 2), NAN), "gender": torch.full((4,), -1)}
    loss, _ = combined(outputs, batch, {name: 1.0})
    loss.backward()
    assert loss.item() == 0
    assert (outputs[output].grad == 0).all()


def test_gender_is_the_cross_entropy_of_those_who_have_one():
    # -(ln 0.8 + ln 0.5) / 2; the third speaker's is unknown
    outputs = {"gender": logits_of([0.8, 0.2], [0.5, 0.5], [0.9, 0.1])}
    loss, parts = combined(outputs, {"gender": torch.tensor([0, 1, -1])}, {"gender": 0.5})
    assert parts["gender"].item() == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2, rel=1e-6)
    assert loss.item() == pytest.approx(0.5 * parts["gender"].item())


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
    with pytest.raises(ValueError, match="unknown loss 'hinge'"):
        combined({}, {}, {"hinge": 1.0})
    with pytest.raises(ValueError, match="no loss has a weight above 0"):
        combined({}, {}, {"focal": 0.0})
