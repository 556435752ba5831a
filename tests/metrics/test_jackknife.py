"""The interval of a rate of errors, its equation written a second time."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline_lib.metrics.jackknife import rate_bounds


def test_the_interval_is_the_jackknifes_on_the_logarithm():
    errors, words = np.array([3.0, 0, 7, 2, 5, 1]), np.array([40.0, 25, 60, 33, 51, 20])
    rate = 18 / 229
    left_out = [(18 - e) / (229 - w) for e, w in zip(errors, words, strict=True)]
    mean = sum(left_out) / 6
    deviation = math.sqrt(5 / 6 * sum((each - mean) ** 2 for each in left_out))
    freedom = 229**2 / sum(w**2 for w in words) - 1
    half = stats.t.ppf(0.975, freedom) * deviation / rate
    expected = rate * math.exp(-half), rate * math.exp(half)
    assert rate_bounds(errors, words, 0.95) == pytest.approx(expected, rel=1e-12)


def test_without_an_error_it_is_a_point_and_with_four_speakers_there_is_none():
    assert rate_bounds(np.zeros(5), np.full(5, 10.0), 0.95) == (0.0, 0.0)
    assert rate_bounds(np.ones(4), np.full(4, 10.0), 0.95) is None
    assert rate_bounds(np.ones(5), np.array([10.0, 10, 10, 10, 0]), 0.95) is None
