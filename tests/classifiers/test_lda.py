"""LDA against scikit-learn's solvers, Gaussian densities written out, and hand-worked values."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as Reference

from pipeline_lib.classifiers.covariance import class_statistics, ledoit_wolf
from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.errors import InputError


def drawn(n=300, width=12, n_classes=5, seed=0):
    """Return unbalanced classes with correlated features."""
    generator = np.random.default_rng(seed)
    truth = np.sort(generator.choice(n_classes, n, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum()))
    truth[:n_classes] = np.arange(n_classes)
    mixing = generator.normal(size=(width, width))
    return (generator.normal(size=(n, width)) + generator.normal(size=(n_classes, width))[truth]) @ mixing, truth


def up_to_sign(actual, expected):
    return actual * np.sign((actual * expected).sum(axis=0))


def test_projection_and_posterior_are_those_of_the_svd_solver():
    features, truth = drawn()
    ours, reference = LinearDiscriminantAnalysis().fit(features, truth), Reference(solver="svd").fit(features, truth)
    expected = reference.transform(features)
    np.testing.assert_allclose(up_to_sign(ours.transform(features), expected), expected, atol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(features), reference.predict_proba(features), atol=1e-10)


def test_projection_and_posterior_are_those_of_the_eigen_solver():
    features, truth = drawn(seed=1)
    ours, reference = LinearDiscriminantAnalysis().fit(features, truth), Reference(solver="eigen").fit(features, truth)
    expected = reference.transform(features)
    expected -= expected.mean(axis=0)  # this solver does not centre
    np.testing.assert_allclose(up_to_sign(ours.transform(features), expected), expected, atol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(features), reference.predict_proba(features), atol=1e-8)


def test_posterior_under_shrinkage_is_that_of_the_eigen_solver():
    features, truth = drawn(seed=9)
    ours = LinearDiscriminantAnalysis(shrinkage=0.2).fit(features, truth)
    reference = Reference(solver="eigen", shrinkage=0.2).fit(features, truth)
    np.testing.assert_allclose(ours.predict_proba(features), reference.predict_proba(features), atol=1e-8)


def test_two_components_are_the_first_two_of_scikit_learn():
    features, truth = drawn(seed=2)
    actual = LinearDiscriminantAnalysis(components=2).fit(features, truth).transform(features)
    expected = Reference(solver="svd", n_components=2).fit(features, truth).transform(features)
    np.testing.assert_allclose(up_to_sign(actual, expected), expected, atol=1e-9)


def test_fifteen_components_of_five_classes_are_four_and_score_alike():
    features, truth = drawn()
    fifteen = LinearDiscriminantAnalysis(components=15).fit(features, truth)
    assert fifteen.components_.shape == (12, 4)
    four = LinearDiscriminantAnalysis(components=4).fit(features, truth)
    np.testing.assert_array_equal(fifteen.predict_proba(features), four.predict_proba(features))


def test_the_width_limits_the_components_too():
    features, truth = drawn(width=2)
    assert LinearDiscriminantAnalysis(components=15).fit(features, truth).components_.shape == (2, 2)


def test_hand_worked_two_classes_in_one_dimension():
    # means 1 and 5, within-class covariance (1+1+1+1)/4 = 1, overall mean 3
    features, truth = np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    lda = LinearDiscriminantAnalysis().fit(features, truth)
    np.testing.assert_allclose(lda.transform(features)[:, 0], [-3, -1, 1, 3])
    # at 4: log odds (4 - 3) * (5 - 1) / 1 = 4
    np.testing.assert_allclose(lda.predict_proba([[4.0]])[0, 1], 1 / (1 + np.exp(-4)))


def test_within_class_covariance_of_the_projection_is_the_identity():
    features, truth = drawn(seed=3)
    projected = LinearDiscriminantAnalysis().fit(features, truth).transform(features)
    np.testing.assert_allclose(class_statistics(projected, truth).scatter / len(truth), np.eye(4), atol=1e-10)


def test_shrinkage_with_fewer_rows_than_dimensions_equals_the_gaussian_densities():
    features, truth = drawn(n=40, width=60, seed=4)
    lda = LinearDiscriminantAnalysis(shrinkage=0.3).fit(features, truth)
    means = np.stack([features[truth == c].mean(axis=0) for c in range(5)])
    away = features - means[truth]
    plain = away.T @ away / 40
    shrunk = 0.7 * plain + 0.3 * np.trace(plain) / 60 * np.eye(60)
    log_density = np.stack([multivariate_normal(m, shrunk).logpdf(features) for m in means], axis=1)
    log_joint = log_density + np.log(np.bincount(truth) / 40)
    expected = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
    np.testing.assert_allclose(lda.predict_proba(features), expected, atol=1e-9)


def test_ledoit_wolf_chooses_what_scikit_learn_chooses():
    features, truth = drawn(n=50, width=20, seed=5)
    means = np.stack([features[truth == c].mean(axis=0) for c in range(5)])
    away = features - means[truth]
    actual = ledoit_wolf(away.T @ away, float(((away**2).sum(axis=1) ** 2).sum()), 50)
    np.testing.assert_allclose(actual, ledoit_wolf_shrinkage(away, assume_centered=True), rtol=1e-10)
    chosen = LinearDiscriminantAnalysis(shrinkage="ledoit_wolf").fit(features, truth)
    given = LinearDiscriminantAnalysis(shrinkage=actual).fit(features, truth)
    np.testing.assert_allclose(chosen.components_, given.components_, rtol=1e-12)


def test_a_constant_and_a_doubled_feature_change_nothing():
    features, truth = drawn(seed=6)
    more = np.column_stack([features, np.full(len(features), 7.0), features[:, 0]])
    plain, wider = LinearDiscriminantAnalysis().fit(features, truth), LinearDiscriminantAnalysis().fit(more, truth)
    np.testing.assert_allclose(wider.predict_proba(more), plain.predict_proba(features), atol=1e-8)


def test_fewer_rows_than_dimensions_without_shrinkage_stays_finite():
    features, truth = drawn(n=30, width=50, seed=7)
    posterior = LinearDiscriminantAnalysis().fit(features, truth).predict_proba(features)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)


def test_float32_features_give_what_their_float64_values_give():
    features, truth = drawn(seed=8)
    single = features.astype(np.float32)
    actual = LinearDiscriminantAnalysis().fit(single, truth).predict_proba(single)
    double = single.astype(np.float64)
    np.testing.assert_array_equal(actual, LinearDiscriminantAnalysis().fit(double, truth).predict_proba(double))


def test_classes_keep_their_own_numbers():
    features, truth = drawn(n_classes=3)
    assert LinearDiscriminantAnalysis().fit(features, truth * 2 + 1).classes_.tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("features", "truth", "message"),
    [
        (np.eye(3), [1, 1, 1], "3 labelled rows hold 1 classes, a classifier needs at least two"),
        (np.eye(3), [0, 1, 2], r"no class varies within itself \(3 rows of 3 classes\)"),
        ([[0.0], [np.nan], [0.0]], [0, 0, 1], "features of row 1 are not finite"),
    ],
)
def test_data_without_anything_to_learn_is_refused(features, truth, message):
    with pytest.raises(InputError, match=message):
        LinearDiscriminantAnalysis().fit(np.array(features), np.array(truth))


def test_an_impossible_shrinkage_is_refused():
    features, truth = drawn()
    with pytest.raises(ValueError, match=r"shrinkage is 1.5, expected a share in \[0, 1\]"):
        LinearDiscriminantAnalysis(shrinkage=1.5).fit(features, truth)


def test_equal_class_means_leave_the_prior():
    features = np.array([[-1.0, 2.0], [1.0, -2.0]] * 9)  # the same two sentences in each class
    truth = np.repeat([0, 1], [12, 6])
    fitted = LinearDiscriminantAnalysis(shrinkage=0.1).fit(features, truth)
    assert not fitted.separates
    np.testing.assert_allclose(fitted.predict_proba(features), np.tile([2 / 3, 1 / 3], (18, 1)), atol=1e-12)
