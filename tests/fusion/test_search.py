"""The simplex search on functions whose maximum is known."""

import numpy as np
import pytest

from pipeline_lib.fusion import search as module
from pipeline_lib.fusion.search import search


def towards(goal):
    """Return a criterion that is largest at ``goal``."""
    return lambda weights: -((weights - np.array(goal)) ** 2).sum(axis=1)[:, None]


def test_two_experts_are_the_grid_of_twenty_one_points():
    result = search(towards([0.55, 0.45]), 2, 0.05)
    np.testing.assert_allclose(result.tried, np.column_stack([np.arange(20, -1, -1), np.arange(21)]) / 20)
    np.testing.assert_allclose(result.weights, [0.55, 0.45])
    assert result.score == pytest.approx(0.0)


@pytest.mark.parametrize(("n_experts", "n_points"), [(1, 1), (3, 231), (4, 1771)])
def test_more_experts_are_every_combination_once(n_experts, n_points):
    goal = np.array([0.4, 0.1, 0.2, 0.3])[:n_experts]
    goal[0] += 1 - goal.sum()
    result = search(towards(goal), n_experts, 0.05)
    assert len(np.unique(result.tried, axis=0)) == len(result.tried) == n_points
    np.testing.assert_allclose(result.tried.sum(axis=1), 1)
    np.testing.assert_allclose(result.weights, goal)


def test_eight_experts_are_searched_by_exchange_and_reach_a_smooth_maximum():
    goal = np.array([0.3, 0.0, 0.25, 0.15, 0.1, 0.0, 0.2, 0.0])
    result = search(towards(goal), 8, 0.05)
    np.testing.assert_allclose(result.weights, goal)
    assert len(result.tried) < module.MOST
    np.testing.assert_allclose(result.tried[0], np.array([3, 3, 3, 3, 2, 2, 2, 2]) / 20)


def test_exchange_finds_what_the_whole_grid_finds(monkeypatch):
    matrix = np.random.default_rng(0).normal(size=(4, 4))

    def criterion(weights):
        return -(weights @ matrix @ matrix.T * weights).sum(axis=1)[:, None] + weights @ matrix[:1].T

    whole = search(criterion, 4, 0.1)
    monkeypatch.setattr(module, "MOST", 10)
    np.testing.assert_allclose(search(criterion, 4, 0.1).weights, whole.weights)


def test_ties_go_to_the_second_criterion_then_to_equal_weights():
    tied = np.zeros((11, 2))
    tied[[2, 8], 1] = 1.0
    np.testing.assert_allclose(
        search(lambda weights: tied, 2, 0.1).weights, [0.8, 0.2]
    )  # as far from equal as (0.2, 0.8): the first wins
    tied[[2, 6], 1] = 1.0
    np.testing.assert_allclose(search(lambda weights: tied, 2, 0.1).weights, [0.4, 0.6])
    np.testing.assert_allclose(search(lambda weights: tied * 0, 2, 0.1).weights, [0.5, 0.5])


def test_scores_that_differ_by_rounding_are_tied():
    noise = np.random.default_rng(0).uniform(0, 1e-14, (11, 1))
    np.testing.assert_allclose(search(lambda weights: noise, 2, 0.1).weights, [0.5, 0.5])
