"""The plurality rule and label indices by hand."""

import doctest

import numpy as np
import pytest

from pipeline_lib import labels
from pipeline_lib.labels import PRIMARY, consensus, indices


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({"anger": 3, "neutral": 2}, "anger"),
        ({"anger": 2, "neutral": 2, "fear": 1}, "X"),
        ({"O": 3, "anger": 1}, "O"),
        ({"anger": 1}, "anger"),
        ({"anger": 0}, "X"),
        ({}, "X"),
    ],
)
def test_plurality_wins_and_a_shared_first_place_is_no_agreement(votes, expected):
    assert consensus(votes) == expected


def test_labels_outside_the_list_are_minus_one():
    np.testing.assert_array_equal(indices(["fear", "X", None, "anger"], PRIMARY), [3, -1, -1, 0])


def test_the_eight_primary_emotions_are_in_the_order_of_their_letters():
    assert PRIMARY == ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def test_the_examples_in_the_docstrings_run():
    result = doctest.testmod(labels)
    assert result.failed == 0 and result.attempted >= 1
