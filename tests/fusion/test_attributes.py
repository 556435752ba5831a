"""Interpolation of attributes by hand and against the equation written again."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.attributes import AttributeInterpolation


def test_weight_worked_out_by_hand_each_attribute_its_own():
    # valence: truth is the mean of the experts, arousal: truth is the first expert
    one, two = np.array([[1.0, 5.0], [2.0, 1.0], [6.0, 2.0]]), np.array([[3.0, 1.0], [6.0, 4.0], [4.0, 3.0]])
    truth = np.stack([(one[:, 0] + two[:, 0]) / 2, one[:, 1]], axis=1)
    fuser = AttributeInterpolation(("valence", "arousal")).fit(np.stack([one, two]), truth)
    np.testing.assert_array_equal(fuser.weights_, [[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(fuser.scores_, 1.0)
    np.testing.assert_allclose(fuser.predict(np.stack([one, two])), truth)


def test_every_tried_weight_scores_as_the_equation_written_again():
    generator = np.random.default_rng(0)
    truth = generator.normal(4, 1, 60)
    values = truth + generator.normal(0.5, 0.8, (2, 60))
    fuser = AttributeInterpolation(("valence",), 0.1).fit(values[:, :, None], truth[:, None])
    for weights, (score, _) in zip(fuser.tried_[0], fuser.criteria_[0], strict=True):
        mixed = weights @ values
        covariance = ((mixed - mixed.mean()) * (truth - truth.mean())).mean()
        expected = 2 * covariance / (mixed.var() + truth.var() + (mixed.mean() - truth.mean()) ** 2)
        assert score == pytest.approx(expected, rel=1e-10)


def test_utterances_without_the_attribute_are_left_out_of_the_search_only():
    generator = np.random.default_rng(1)
    values, truth = generator.normal(size=(2, 30, 1)), generator.normal(size=(30, 1))
    truth[::3] = np.nan
    fuser = AttributeInterpolation(("valence",)).fit(values, truth)
    known = ~np.isnan(truth[:, 0])
    again = AttributeInterpolation(("valence",)).fit(values[:, known], truth[known])
    np.testing.assert_array_equal(fuser.weights_, again.weights_)
    assert np.isfinite(fuser.predict(values)).all()


def test_an_attribute_that_nobody_annotated_is_refused_by_name():
    with pytest.raises(InputError, match="0 tuning utterances have 'valence' annotated"):
        AttributeInterpolation(("valence",)).fit(np.zeros((2, 3, 1)), np.full((3, 1), np.nan))
