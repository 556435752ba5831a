"""Normalisation against hand-worked values."""

import numpy as np
import pytest

from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.errors import InputError

TRAIN = np.array([[1.0, 5.0], [3.0, 5.0]])  # means 2 and 5, deviations 1 and 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", [4.0, 9.0]),
        ("standardise", [2.0, 0.0]),  # a constant feature says nothing, whatever it is elsewhere
        ("length", [2 / np.sqrt(20), 4 / np.sqrt(20)]),
    ],
)
def test_one_row_under_each_kind(kind, expected):
    np.testing.assert_allclose(Normalisation(kind).fit(TRAIN).transform([[4.0, 9.0]]), [expected])


def test_a_constant_that_float32_rounds_is_still_constant():
    features = np.full((1000, 1), np.float32(0.1))
    features[0] = np.nextafter(np.float32(0.1), np.float32(1))
    assert (Normalisation().fit(features).transform(features) == 0).all()


def test_a_row_at_the_mean_has_length_zero_and_stays_there():
    np.testing.assert_array_equal(Normalisation("length").fit(TRAIN).transform([[2.0, 5.0]]), [[0.0, 0.0]])


def test_a_value_that_is_not_finite_is_refused_by_row():
    with pytest.raises(InputError, match=r"features of row 1 are not finite \(1 rows"):
        Normalisation().fit(np.array([[1.0], [np.inf]]))
