"""Calibration error by hand, and against torchmetrics."""

import doctest

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from pipeline_lib.metrics import calibration as module
from pipeline_lib.metrics.calibration import calibration, expected_calibration_error

N_LABELS = 5


def test_calibration_error_agrees_with_torchmetrics():
    generator = np.random.default_rng(9)
    posterior = generator.dirichlet(np.full(N_LABELS, 0.4), 500)
    truth = generator.integers(0, N_LABELS, 500)
    theirs = multiclass_calibration_error(torch.tensor(posterior), torch.tensor(truth), N_LABELS, n_bins=10, norm="l1")
    # they add confidences up in float32
    assert expected_calibration_error(posterior, truth, 10) == pytest.approx(theirs.item(), abs=1e-6)


def test_calibration_error_worked_out_by_hand():
    # bin (0.5, 0.75]: 0.6 and 0.7, one right: |0.5 - 0.65|; bin (0.75, 1]: 1.0, right: 0
    posterior, truth = np.array([[0.6, 0.4], [0.3, 0.7], [1.0, 0.0]]), np.array([0, 0, 0])
    assert expected_calibration_error(posterior, truth, 4) == pytest.approx(2 / 3 * 0.15, abs=1e-15)
    count, confidence, right = calibration(posterior, truth, 4)
    assert count.tolist() == [0, 0, 2, 1]
    np.testing.assert_allclose(confidence, [0, 0, 0.65, 1])
    np.testing.assert_allclose(right, [0, 0, 0.5, 1])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    count, _, _ = calibration(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 0]), 4)
    assert count.tolist() == [0, 1, 1, 0]


def test_a_posterior_that_is_not_finite_or_too_short_is_refused():
    with pytest.raises(ValueError, match="posterior of utterance 1 is not finite"):
        expected_calibration_error(np.array([[1.0, 0.0], [np.nan, 0.0]]), np.array([0, 0]), 5)
    with pytest.raises(ValueError, match=r"posterior has shape \(1, 2\), expected \(2, n_labels\)"):
        expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0, 0]), 5)


def test_the_examples_in_the_docstrings_run():
    result = doctest.testmod(module)
    assert result.failed == 0 and result.attempted >= 1
