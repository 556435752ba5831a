"""Multinomial logistic regression against another solver and its own first-order conditions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline_lib.classifiers import logistic
from pipeline_lib.classifiers.logistic import MultinomialLogisticRegression
from pipeline_lib.errors import InputError


def drawn(n=240, width=6, n_classes=4, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, n_classes, n)
    return generator.normal(size=(n, width)) + generator.normal(size=(n_classes, width))[truth], truth


@pytest.mark.parametrize("penalty", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_posterior_is_that_of_newtons_method_with_c_the_inverse_of_the_penalty(penalty, n_classes):
    features, truth = drawn(n_classes=n_classes)
    ours = MultinomialLogisticRegression(penalty).fit(features, truth)
    reference = LogisticRegression(C=1 / penalty, solver="newton-cg", tol=1e-12, max_iter=1000).fit(features, truth)
    np.testing.assert_allclose(ours.predict_proba(features), reference.predict_proba(features), atol=1e-6)


def test_posterior_is_scikit_learns_own_from_the_same_solver():
    features, truth = drawn(seed=1)
    ours = MultinomialLogisticRegression(2.0).fit(features, truth)
    reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=20_000).fit(features, truth)
    np.testing.assert_allclose(ours.predict_proba(features), reference.predict_proba(features), atol=1e-12)


def test_mean_posterior_of_the_training_rows_is_their_label_frequencies():
    features, truth = drawn(seed=2)
    mean_posterior = MultinomialLogisticRegression(5.0).fit(features, truth).predict_proba(features).mean(axis=0)
    np.testing.assert_allclose(mean_posterior, np.bincount(truth) / len(truth), atol=1e-6)


def test_separable_classes_still_reach_a_minimum():
    features, truth = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    posterior = MultinomialLogisticRegression(1.0).fit(features, truth).predict_proba(features)
    assert (posterior.argmax(axis=1) == truth).all()


def test_one_class_is_refused():
    with pytest.raises(InputError, match="2 labelled rows hold 1 classes"):
        MultinomialLogisticRegression().fit(np.eye(2), np.array([3, 3]))


def test_a_fit_that_stops_early_is_refused_with_a_guess(monkeypatch):
    monkeypatch.setattr(logistic, "_ITERATIONS", 2)
    features, truth = drawn()
    with pytest.raises(InputError, match=r"240 rows and 6 features stopped at slope .* different scales"):
        MultinomialLogisticRegression(0.1).fit(features, truth)
