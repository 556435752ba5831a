"""Rebalancing against values worked out by hand."""

import doctest

import numpy as np
import pytest

from pipeline_lib.classifiers.inputs import softmax
from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.logistic import MultinomialLogisticRegression
from pipeline_lib.rebalancing import prior
from pipeline_lib.rebalancing.prior import rebalance


def test_the_examples_in_the_docstring_run():
    assert doctest.testmod(prior).failed == 0
    assert doctest.testmod(prior).attempted == 1


def test_the_rarer_label_gains_by_the_ratio_of_the_priors():
    # 0.8 * (0.5 / 0.8) = 0.5 and 0.2 * (0.5 / 0.2) = 0.5: the evidence was the prior, nothing more
    training_prior, target_prior = np.array([0.8, 0.2]), np.array([0.5, 0.5])
    posterior = rebalance(np.array([[0.8, 0.2]]), training_prior=training_prior, target_prior=target_prior)
    np.testing.assert_allclose(posterior, [[0.5, 0.5]])


def test_a_label_with_target_prior_zero_is_removed_and_the_rest_still_sums_to_one():
    target_prior = np.array([0.5, 0.5, 0.0])
    posterior = rebalance(np.array([[0.5, 0.3, 0.2]]), training_prior=np.full(3, 1 / 3), target_prior=target_prior)
    np.testing.assert_allclose(posterior, [[0.625, 0.375, 0.0]])


def test_a_label_without_training_examples_is_refused_by_index():
    with pytest.raises(ValueError, match=r"labels at \[1\] have no training example"):
        rebalance(np.array([[0.5, 0.5]]), training_prior=np.array([1.0, 0.0]), target_prior=np.array([0.5, 0.5]))


def test_a_label_that_was_never_trained_may_have_target_prior_zero():
    first_only = np.array([1.0, 0.0])
    posterior = rebalance(np.array([[0.6, 0.4]]), training_prior=first_only, target_prior=first_only)
    np.testing.assert_array_equal(posterior, [[1.0, 0.0]])


def test_a_row_that_is_all_on_removed_labels_becomes_the_target_prior():
    target_prior = np.array([0.75, 0.25, 0.0])
    posterior = rebalance(np.array([[0.0, 0.0, 1.0]]), training_prior=np.full(3, 1 / 3), target_prior=target_prior)
    np.testing.assert_allclose(posterior, [[0.75, 0.25, 0.0]])


def test_there_and_back_is_nothing():
    generator = np.random.default_rng(0)
    posterior, one, two = generator.dirichlet(np.ones(4), 9), *generator.dirichlet(np.ones(4), 2)
    np.testing.assert_allclose(rebalance(rebalance(posterior, one, two), two, one), posterior)


def test_after_lda_and_logistic_regression_the_bias_shift_is_minus_log_prior_plus_a_constant():
    generator = np.random.default_rng(1)
    truth = np.repeat([0, 1, 2], [160, 60, 20])
    embedding = generator.normal(size=(240, 10)) + generator.normal(size=(3, 10))[truth]
    features = LinearDiscriminantAnalysis(15).fit(embedding, truth).transform(embedding)
    model = MultinomialLogisticRegression(1.0).fit(features, truth)
    training_prior = np.array([160, 60, 20]) / 240
    balanced = rebalance(model.predict_proba(features), training_prior, np.full(3, 1 / 3))
    for constant in (0.0, 5.0):
        shifted = model.intercept_ - np.log(training_prior) + constant
        np.testing.assert_allclose(balanced, softmax(features @ model.coef_.T + shifted), atol=1e-13)
    # and the shift can be read off the posterior: log odds against the first label, new minus old
    before = model.predict_proba(features)
    shift = np.log(balanced / balanced[:, :1]) - np.log(before / before[:, :1])
    np.testing.assert_allclose(shift, np.tile(-np.log(training_prior / training_prior[0]), (240, 1)), atol=1e-10)
