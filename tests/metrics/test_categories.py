"""Scores of categories by hand, and against scikit-learn."""

import doctest

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    recall_score,
)

from pipeline_lib.metrics import categories
from pipeline_lib.metrics.categories import (
    accuracy,
    accuracy_of,
    confusion,
    macro_f1,
    macro_f1_of,
    unweighted_accuracy,
    unweighted_accuracy_of,
    weighted_f1,
    weighted_f1_of,
)

N_LABELS = 5


def drawn(seed, n=200, used=N_LABELS):
    generator = np.random.default_rng(seed)
    return generator.integers(0, used, n), generator.integers(0, N_LABELS, n)


@pytest.mark.parametrize("used", [N_LABELS, 3])
@pytest.mark.parametrize("seed", range(4))
def test_categories_agree_with_scikit_learn_over_the_full_label_list(seed, used):
    truth, prediction = drawn(seed, used=used)
    options = {"labels": range(N_LABELS), "zero_division": 0}
    np.testing.assert_array_equal(
        confusion(truth, prediction, N_LABELS), confusion_matrix(truth, prediction, labels=range(N_LABELS))
    )
    pairs = [
        (macro_f1, f1_score(truth, prediction, average="macro", **options)),
        (weighted_f1, f1_score(truth, prediction, average="weighted", **options)),
        (unweighted_accuracy, recall_score(truth, prediction, average="macro", **options)),
        (accuracy, accuracy_score(truth, prediction)),
    ]
    for metric, expected in pairs:
        assert metric(truth, prediction, N_LABELS) == pytest.approx(expected, abs=1e-14)


def test_a_label_absent_from_truth_and_prediction_counts_as_zero():
    truth = prediction = np.array([0, 1, 1])
    assert macro_f1(truth, prediction, 4) == 0.5
    assert unweighted_accuracy(truth, prediction, 4) == 0.5
    assert weighted_f1(truth, prediction, 4) == accuracy(truth, prediction, 4) == 1.0


def test_where_every_label_occurs_unweighted_accuracy_is_balanced_accuracy():
    truth, prediction = drawn(7)
    expected = balanced_accuracy_score(truth, prediction)
    assert unweighted_accuracy(truth, prediction, N_LABELS) == pytest.approx(expected, abs=1e-14)


def test_scores_worked_out_by_hand():
    # label 0: 2 of 2 right, 1 false alarm; label 1: 1 of 2 right
    truth, prediction = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    assert confusion(truth, prediction, 2).tolist() == [[2, 0], [1, 2]]
    assert macro_f1(truth, prediction, 2) == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert unweighted_accuracy(truth, prediction, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert accuracy(truth, prediction, 2) == pytest.approx(4 / 5)


def test_a_stack_of_confusions_gives_each_matrix_its_own_score():
    stack = np.random.default_rng(3).integers(0, 9, (2, 6, N_LABELS, N_LABELS))
    for score in (macro_f1_of, weighted_f1_of, unweighted_accuracy_of, accuracy_of):
        assert score(stack).shape == (2, 6)
        assert score(stack)[1, 4] == score(stack[1, 4])


def test_a_missing_label_is_refused_with_its_index():
    with pytest.raises(ValueError, match=r"truth of utterance 1 is -1, expected 0 to 2 \(drop utterances without"):
        macro_f1(np.array([0, -1]), np.array([0, 1]), 3)
    with pytest.raises(ValueError, match="prediction of utterance 0 is 3, expected 0 to 2"):
        accuracy(np.array([0, 1]), np.array([3, 1]), 3)


def test_lengths_types_and_nothing_at_all_are_refused():
    with pytest.raises(ValueError, match="truth has 2 utterances, prediction 1"):
        macro_f1(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(ValueError, match="type float64, expected at least one integer index"):
        macro_f1(np.array([0.0, 1.0]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="expected at least one integer index"):
        macro_f1(np.array([], dtype=int), np.array([], dtype=int), 2)


def test_the_examples_in_the_docstrings_run():
    result = doctest.testmod(categories)
    assert result.failed == 0 and result.attempted >= 1
