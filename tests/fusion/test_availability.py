"""Mixing where experts are absent, by hand."""

import numpy as np

from pipeline_lib.fusion.availability import mix

VALUES = np.array([[[1.0], [2.0], [np.nan]], [[3.0], [np.nan], [5.0]]])


def test_an_absent_experts_weight_goes_to_the_others():
    np.testing.assert_allclose(mix(VALUES, np.array([0.25, 0.75])), [[2.5], [2.0], [5.0]])


def test_where_only_experts_of_weight_zero_are_present_they_count_alike():
    np.testing.assert_allclose(mix(VALUES, np.array([1.0, 0.0])), [[1.0], [2.0], [5.0]])
    three = np.array([[[np.nan]], [[3.0]], [[5.0]]])
    np.testing.assert_allclose(mix(three, np.array([1.0, 0.0, 0.0])), [[4.0]])


def test_three_experts_of_which_one_is_absent_keep_their_ratio():
    three = np.array([[[np.nan]], [[3.0]], [[7.0]]])
    np.testing.assert_allclose(mix(three, np.array([0.2, 0.6, 0.2])), [[4.0]])


def test_nobody_present_is_nan():
    assert np.isnan(mix(np.full((2, 1, 1), np.nan), np.array([0.5, 0.5]))).all()
