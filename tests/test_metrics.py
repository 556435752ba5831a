"""Scores against hand-worked values and against scikit-learn, torchmetrics and the equations written again."""

import doctest

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.regression import concordance_corrcoef

from pipeline_lib import metrics

N_LABELS = 5


def drawn(seed, n=200, used=N_LABELS):
    generator = np.random.default_rng(seed)
    return generator.integers(0, used, n), generator.integers(0, N_LABELS, n)


def lin(x, y):
    """Lin's equation again, with rho and the standard deviations."""
    rho = np.corrcoef(x, y)[0, 1]
    return 2 * rho * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(metrics).failed == 0
    assert doctest.testmod(metrics).attempted >= 2


@pytest.mark.parametrize("used", [N_LABELS, 3])
@pytest.mark.parametrize("seed", range(4))
def test_categories_agree_with_scikit_learn_over_the_full_label_list(seed, used):
    truth, prediction = drawn(seed, used=used)
    options = {"labels": range(N_LABELS), "zero_division": 0}
    np.testing.assert_array_equal(
        metrics.confusion(truth, prediction, N_LABELS), confusion_matrix(truth, prediction, labels=range(N_LABELS))
    )
    pairs = [
        (metrics.macro_f1, f1_score(truth, prediction, average="macro", **options)),
        (metrics.weighted_f1, f1_score(truth, prediction, average="weighted", **options)),
        (metrics.unweighted_accuracy, recall_score(truth, prediction, average="macro", **options)),
        (metrics.accuracy, accuracy_score(truth, prediction)),
    ]
    for metric, wanted in pairs:
        assert metric(truth, prediction, N_LABELS) == pytest.approx(wanted, abs=1e-14)


def test_a_label_absent_from_truth_and_prediction_counts_as_zero():
    truth = prediction = np.array([0, 1, 1])
    assert metrics.macro_f1(truth, prediction, 4) == 0.5
    assert metrics.unweighted_accuracy(truth, prediction, 4) == 0.5
    assert metrics.weighted_f1(truth, prediction, 4) == metrics.accuracy(truth, prediction, 4) == 1.0


def test_where_every_label_occurs_unweighted_accuracy_is_balanced_accuracy():
    truth, prediction = drawn(7)
    wanted = balanced_accuracy_score(truth, prediction)
    assert metrics.unweighted_accuracy(truth, prediction, N_LABELS) == pytest.approx(wanted, abs=1e-14)


def test_scores_worked_out_by_hand():
    # label 0: 2 of 2 right, 1 false alarm; label 1: 1 of 2 right
    truth, prediction = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    assert metrics.confusion(truth, prediction, 2).tolist() == [[2, 0], [1, 2]]
    assert metrics.macro_f1(truth, prediction, 2) == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert metrics.unweighted_accuracy(truth, prediction, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.accuracy(truth, prediction, 2) == pytest.approx(4 / 5)


def test_a_stack_of_confusions_gives_each_matrix_its_own_score():
    stack = np.random.default_rng(3).integers(0, 9, (2, 6, N_LABELS, N_LABELS))
    for score in (metrics.macro_f1_of, metrics.weighted_f1_of, metrics.unweighted_accuracy_of, metrics.accuracy_of):
        assert score(stack).shape == (2, 6)
        assert score(stack)[1, 4] == score(stack[1, 4])


def test_a_missing_label_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"truth of utterance 1 is -1, wanted 0 to 2 \(drop utterances without"):
        metrics.macro_f1(np.array([0, -1]), np.array([0, 1]), 3)
    with pytest.raises(ValueError, match="prediction of utterance 0 is 3, wanted 0 to 2"):
        metrics.accuracy(np.array([0, 1]), np.array([3, 1]), 3)


def test_lengths_types_and_nothing_at_all_are_refused():
    with pytest.raises(ValueError, match="truth has 2 utterances, prediction 1"):
        metrics.macro_f1(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(ValueError, match="type float64, wanted at least one integer index"):
        metrics.macro_f1(np.array([0.0, 1.0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="wanted at least one integer index"):
        metrics.macro_f1(np.array([], dtype=int), np.array([], dtype=int), 2)


@pytest.mark.parametrize("offset", [0.0, 4.0, 1e4])
def test_concordance_is_lins_equation(offset):
    generator = np.random.default_rng(5)
    x = offset + generator.normal(size=300)
    y = offset + 0.4 * (x - offset) + generator.normal(size=300)
    assert metrics.concordance(x, y) == pytest.approx(lin(x, y), abs=1e-12 * max(1.0, offset))


def test_concordance_worked_out_by_hand():
    # means 2.5 and 2.5, variances 1.25 and 1.25, covariance 0.75
    assert metrics.concordance(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])) == pytest.approx(0.6, abs=1e-15)
    assert metrics.concordance(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1.0, abs=1e-15)


def test_torchmetrics_divides_by_one_less_and_agrees_when_its_variances_are_scaled_back():
    generator = np.random.default_rng(6)
    x, y = generator.normal(size=40), generator.normal(size=40) + 0.5
    theirs = concordance_corrcoef(torch.tensor(y), torch.tensor(x)).item()
    denominator = x.var(ddof=1) + y.var(ddof=1) + (x.mean() - y.mean()) ** 2
    back = theirs * denominator * (39 / 40) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert metrics.concordance(x, y) == pytest.approx(back, abs=1e-12)
    assert abs(metrics.concordance(x, y)) < abs(theirs)


@pytest.mark.parametrize("constant", [0.1, 0.0, 3.3])
def test_nothing_that_varies_has_concordance_zero(constant):
    flat, varied = np.full(7, constant), np.arange(7.0)
    assert metrics.concordance(flat, flat) == 0.0
    assert metrics.concordance(flat, varied) == 0.0
    assert metrics.concordance(varied, flat) == pytest.approx(0.0, abs=1e-15)
    assert metrics.concordance(flat, flat + 1) == 0.0


def test_concordance_refuses_nan_by_place():
    with pytest.raises(ValueError, match=r"prediction of utterance 1 is nan \(drop utterances without a value"):
        metrics.concordance(np.array([1.0, 2.0]), np.array([1.0, np.nan]))


def test_moments_may_be_summed_in_any_grouping():
    generator = np.random.default_rng(8)
    x, y = generator.normal(4, 1, 60), generator.normal(3, 1, 60)
    groups = metrics.moments(x, y, 4.0).reshape(6, 10, 6).sum(axis=1)
    assert metrics.concordance_of(groups[[0, 0, 3]].sum(axis=0)) == pytest.approx(
        lin(np.concatenate([x[:10], x[:10], x[30:40]]), np.concatenate([y[:10], y[:10], y[30:40]])), abs=1e-13
    )


def test_calibration_error_agrees_with_torchmetrics():
    generator = np.random.default_rng(9)
    posterior = generator.dirichlet(np.full(N_LABELS, 0.4), 500)
    truth = generator.integers(0, N_LABELS, 500)
    theirs = multiclass_calibration_error(torch.tensor(posterior), torch.tensor(truth), N_LABELS, n_bins=10, norm="l1")
    # they add confidences up in float32
    assert metrics.expected_calibration_error(posterior, truth, 10) == pytest.approx(theirs.item(), abs=1e-6)


def test_calibration_error_worked_out_by_hand():
    # bin (0.5, 0.75]: 0.6 and 0.7, one right: |0.5 - 0.65|; bin (0.75, 1]: 1.0, right: 0
    posterior, truth = np.array([[0.6, 0.4], [0.3, 0.7], [1.0, 0.0]]), np.array([0, 0, 0])
    assert metrics.expected_calibration_error(posterior, truth, 4) == pytest.approx(2 / 3 * 0.15, abs=1e-15)
    count, confidence, right = metrics.calibration(posterior, truth, 4)
    assert count.tolist() == [0, 0, 2, 1]
    np.testing.assert_allclose(confidence, [0, 0, 0.65, 1])
    np.testing.assert_allclose(right, [0, 0, 0.5, 1])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    count, _, _ = metrics.calibration(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 0]), 4)
    assert count.tolist() == [0, 1, 1, 0]


def test_likelihood_agrees_with_scikit_learn_and_has_a_floor():
    generator = np.random.default_rng(10)
    posterior, truth = generator.dirichlet(np.ones(N_LABELS), 300), generator.integers(0, N_LABELS, 300)
    wanted = log_loss(truth, posterior, labels=range(N_LABELS))
    assert metrics.negative_log_likelihood(posterior, truth) == pytest.approx(wanted, abs=1e-12)
    assert metrics.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(52 * np.log(2))


def test_a_posterior_that_is_not_finite_or_too_short_is_refused():
    with pytest.raises(ValueError, match="posterior of utterance 1 is not finite"):
        metrics.expected_calibration_error(np.array([[1.0, 0.0], [np.nan, 0.0]]), np.array([0, 0]), 5)
    with pytest.raises(ValueError, match=r"posterior has shape \(1, 2\), wanted \(2, n_labels\)"):
        metrics.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([0, 0]))
