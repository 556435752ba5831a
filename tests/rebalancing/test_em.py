"""The prior by EM: iterated by hand, at its fixed points, and where the truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from pipeline_lib.rebalancing.em import estimate


def test_two_iterations_by_hand():
    # trained (1/2, 1/2), rows (0.9, 0.1) and (0.6, 0.4). First: mean (0.75, 0.25).
    # Second: weights 1.5 and 0.5: 1.35 / (1.35 + 0.05) = 27/28 and 0.9 / (0.9 + 0.2) = 9/11; mean (27/28 + 9/11) / 2
    posterior, training_prior = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.5, 0.5])
    np.testing.assert_allclose(estimate(posterior, training_prior, iterations=1).prior, [0.75, 0.25])
    result = estimate(posterior, training_prior, iterations=2)
    np.testing.assert_allclose(result.prior[0], (27 / 28 + 9 / 11) / 2)
    assert (result.iterations, result.converged) == (2, False)
    np.testing.assert_allclose(result.change, (27 / 28 + 9 / 11) / 2 - 0.75)


def test_a_posterior_that_knows_nothing_keeps_the_training_prior():
    training_prior = np.array([0.7, 0.2, 0.1])
    result = estimate(np.tile(training_prior, (5, 1)), training_prior)
    np.testing.assert_allclose(result.prior, training_prior)
    assert result.converged


def test_a_posterior_that_is_certain_gives_the_frequencies():
    result = estimate(np.eye(3)[[0, 0, 0, 1, 2]], np.array([0.1, 0.1, 0.8]))
    np.testing.assert_allclose(result.prior, [0.6, 0.2, 0.2])


def test_the_share_of_a_label_that_does_not_occur_goes_to_zero():
    assert estimate(np.array([[0.6, 0.4], [0.7, 0.3]]), np.array([0.5, 0.5])).prior[1] < 1e-6


def gaussians(prior, n, seed):
    """Return rows of three classes at -2, 0, 2 and their densities."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, n, p=prior)
    rows = generator.normal(size=n) + np.array([-2.0, 0.0, 2.0])[truth]
    return truth, norm(np.array([-2.0, 0.0, 2.0]), 1.0).pdf(rows[:, None])


def test_the_true_prior_is_recovered_from_another_training_prior():
    training_prior, true = np.array([0.8, 0.1, 0.1]), np.array([0.2, 0.3, 0.5])
    _, densities = gaussians(true, 40_000, seed=0)
    posterior = densities * training_prior / (densities * training_prior).sum(axis=1, keepdims=True)
    result = estimate(posterior, training_prior)
    assert result.converged
    np.testing.assert_allclose(result.prior, true, atol=0.01)


def test_the_fixed_point_is_the_maximum_of_the_likelihood():
    _, densities = gaussians([0.5, 0.0, 0.5], 300, seed=1)
    densities, training_prior = densities[:, [0, 2]], np.array([0.9, 0.1])
    posterior = densities * training_prior / (densities * training_prior).sum(axis=1, keepdims=True)
    best = minimize_scalar(
        lambda share: -np.log(densities @ [share, 1 - share]).sum(),
        bounds=(0, 1),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(estimate(posterior, training_prior, tolerance=1e-12).prior[0], best.x, atol=1e-6)


def test_smoothing_by_hand():
    # as above, a = 1/2: mean (0.75, 0.25) and 1/4 of a half each, over 3/2: (2/3, 1/3)
    posterior, training_prior = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.5, 0.5])
    np.testing.assert_allclose(estimate(posterior, training_prior, 1, smoothing=0.5).prior, [2 / 3, 1 / 3], rtol=1e-15)


def test_the_smoothed_fixed_point_is_the_maximum_under_the_dirichlet_prior():
    generator, training_prior, a = np.random.default_rng(4), np.array([0.6, 0.4]), 0.7
    posterior = generator.dirichlet([6.0, 4.0], 50)
    likelihood = posterior / training_prior

    def minus_log(share):
        prior = np.array([share, 1 - share])
        return -np.log(likelihood @ prior).sum() - 50 * a / 2 * np.log(prior).sum()

    best = minimize_scalar(minus_log, bounds=(0, 1), method="bounded", options={"xatol": 1e-10})
    result = estimate(posterior, training_prior, tolerance=1e-13, smoothing=a)
    np.testing.assert_allclose(result.prior[0], best.x, atol=1e-6)


def test_smoothing_leaves_every_label_its_least_share():
    result = estimate(np.array([[0.6, 0.4], [0.7, 0.3]]), np.array([0.5, 0.5]), smoothing=1.0)
    assert result.prior[1] >= 0.25
    assert result.prior.sum() == pytest.approx(1, abs=1e-15)


def test_no_utterance_is_refused():
    with pytest.raises(ValueError, match="no utterance to estimate a prior from"):
        estimate(np.empty((0, 2)), np.array([0.5, 0.5]))
