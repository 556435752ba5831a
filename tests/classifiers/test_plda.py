"""PLDA against densities by brute force on the full covariance of all rows, and against hand-worked values."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.errors import InputError

COUNTS = (2, 5, 9, 4)


def drawn(counts=COUNTS, width=3, seed=0):
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    mixing = generator.normal(size=(width, width))
    centres = 2 * generator.normal(size=(len(counts), width))
    return (generator.normal(size=(len(truth), width)) + centres[truth]) @ mixing + 3.0, truth


def estimates(features, truth, shrinkage=0.0):
    """Return W, B and the mean by the closed form, each written as a sum over rows; B's negative part taken off."""
    classes, width = np.unique(truth), features.shape[1]
    means = np.array([features[truth == c].mean(axis=0) for c in classes])
    within = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(features, truth, strict=True))
    within = within / (len(features) - len(classes))
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / width * np.eye(width)
    between = np.cov(means.T).reshape(width, width) - np.mean([1 / (truth == c).sum() for c in classes]) * within
    root = np.linalg.cholesky(within)
    values, vectors = np.linalg.eigh(np.linalg.inv(root) @ between @ np.linalg.inv(root).T)
    between = root @ (vectors * np.maximum(values, 0)) @ vectors.T @ root.T
    return within, between, means.mean(axis=0)


def joint(rows, within, between, mean):
    """Return log p(rows of one class) from the covariance of all rows stacked: B everywhere, W on the diagonal."""
    n = len(rows)
    covariance = np.kron(np.eye(n), within) + np.kron(np.ones((n, n)), between)
    return multivariate_normal(np.tile(mean, n), covariance).logpdf(rows.reshape(-1))


def predictive(x, rows, *model):
    """Return log p(x | rows) = log p(x, rows) - log p(rows)."""
    return joint(np.vstack([rows, x]), *model) - joint(rows, *model)


@pytest.mark.parametrize("shrinkage", [0.0, 0.4])
def test_densities_are_those_of_the_full_joint_covariance(shrinkage):
    features, truth = drawn()
    unseen = np.random.default_rng(9).normal(size=(6, 3)) * 4 + 3
    model = estimates(features, truth, shrinkage)
    expected = np.array([[predictive(x, features[truth == c], *model) for c in range(4)] for x in unseen])
    plda = PLDA(shrinkage=shrinkage).fit(features, truth)
    np.testing.assert_allclose(plda.log_densities(unseen), expected, rtol=1e-9, atol=1e-9)
    odds = np.exp(expected - expected.max(axis=1, keepdims=True))
    np.testing.assert_allclose(plda.predict_proba(unseen), odds / odds.sum(axis=1, keepdims=True), atol=1e-10)


def test_densities_with_more_dimensions_than_classes():
    features, truth = drawn(counts=(12, 20, 5), width=6, seed=3)
    model = estimates(features, truth)
    expected = [[predictive(x, features[truth == c], *model) for c in range(3)] for x in features[:4]]
    np.testing.assert_allclose(PLDA().fit(features, truth).log_densities(features[:4]), expected, rtol=1e-8)


def test_the_axes_diagonalise_both_covariances():
    features, truth = drawn(counts=(30, 40, 50, 60, 10), width=4, seed=1)
    within, between, _ = estimates(features, truth)
    plda = PLDA().fit(features, truth)
    np.testing.assert_allclose(plda.axes_.T @ within @ plda.axes_, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(plda.axes_.T @ between @ plda.axes_, np.diag(plda.between_), atol=1e-9)
    assert (np.diff(plda.between_) <= 0).all()


def test_hand_worked_one_dimension_with_unequal_counts():
    # class 0: 0, 2, class 1: 9, 10, 11. W = (1+1+1+0+1)/(5-2) = 4/3; means 1 and 10, their variance 81/2;
    # B = 40.5 - (1/2 + 1/3)/2 * 4/3 = 40.5 - 5/9
    within, between = 4 / 3, 40.5 - 5 / 9
    features, truth = np.array([[0.0], [2.0], [9.0], [10.0], [11.0]]), np.array([0, 0, 1, 1, 1])
    expected = []
    for count, mean in ((2, 1.0), (3, 10.0)):
        precision = 1 / between + count / within
        centre = (5.5 / between + count * mean / within) / precision
        expected.append(norm(centre, np.sqrt(within + 1 / precision)).logpdf(4.0))
    plda = PLDA().fit(features, truth)
    np.testing.assert_allclose(plda.log_densities([[4.0]])[0], expected, rtol=1e-12)
    np.testing.assert_allclose(plda.between_, [between / within])


def test_the_rarer_class_has_the_wider_density():
    features, truth = drawn(counts=(3, 60, 60), seed=2)
    variances = PLDA().fit(features, truth).variances_
    assert (variances[0] >= variances[1]).all() and variances[0, 0] > variances[1, 0]


def test_with_many_rows_a_class_it_is_lda_without_the_training_prior():
    features, truth = drawn(counts=(4000, 9000, 20000), width=2, seed=4)
    lda = LinearDiscriminantAnalysis().fit(features, truth)
    posterior = lda.predict_proba(features[::500]) / lda.priors_
    expected = posterior / posterior.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(PLDA().fit(features, truth).predict_proba(features[::500]), expected, atol=2e-3)


def test_classes_without_any_difference_get_a_uniform_posterior():
    features = np.array([[0.0], [2.0], [0.0], [2.0], [0.0], [2.0]])
    posterior = PLDA().fit(features, np.array([0, 0, 1, 1, 2, 2])).predict_proba([[5.0]])
    np.testing.assert_allclose(posterior, np.full((1, 3), 1 / 3))


def test_em_never_lowers_the_likelihood_and_ends_above_the_closed_form():
    features, truth = drawn(counts=(6, 9, 14, 3, 8), seed=5)
    climb = PLDA(estimation="em", iterations=200, tolerance=0.0).fit(features, truth).log_likelihood_
    assert (np.diff(climb) > -1e-9).all() and climb[-1] > climb[0] + 0.1


def test_the_likelihood_of_em_is_that_of_the_full_joint_covariance():
    features, truth = drawn(seed=6)
    model = estimates(features, truth)
    expected = sum(joint(features[truth == c], *model) for c in range(4))
    plda = PLDA(estimation="em", iterations=1).fit(features, truth)
    total = plda.log_likelihood_[0] - 0.5 * len(features) * np.linalg.slogdet(model[0])[1]  # on axes where W is I
    np.testing.assert_allclose(total, expected, rtol=1e-9)


def test_one_step_of_em_is_the_one_with_inverses_of_b():
    features, truth = drawn(counts=(6, 9, 14, 3, 8), width=2, seed=7)
    within, between, mean = estimates(features, truth)
    centres, spreads = [], []
    for c in range(5):
        rows = features[truth == c]
        precision = np.linalg.inv(between) + len(rows) * np.linalg.inv(within)
        spreads.append(np.linalg.inv(precision))
        centres.append(spreads[-1] @ (np.linalg.inv(between) @ mean + np.linalg.inv(within) @ rows.sum(axis=0)))
    mean = np.mean(centres, axis=0)
    between = np.mean([s + np.outer(y - mean, y - mean) for s, y in zip(spreads, centres, strict=True)], axis=0)
    rows = zip(features, truth, strict=True)
    within = np.mean([spreads[c] + np.outer(x - centres[c], x - centres[c]) for x, c in rows], axis=0)
    expected = [[predictive(x, features[truth == c], within, between, mean) for c in range(5)] for x in features[:5]]
    plda = PLDA(estimation="em", iterations=1).fit(features, truth)
    np.testing.assert_allclose(plda.log_densities(features[:5]), expected, rtol=1e-8)


@pytest.mark.parametrize("estimation", ["closed_form", "em"])
def test_a_singular_covariance_leaves_out_its_null_directions(estimation):
    features, truth = drawn(counts=(10, 12, 14), seed=8)
    more = np.column_stack([features, features.sum(axis=1), np.full(len(features), 2.0)])
    plain, wider = (PLDA(estimation=estimation).fit(rows, truth) for rows in (features, more))
    assert wider.axes_.shape == (5, 3)
    np.testing.assert_allclose(wider.predict_proba(more), plain.predict_proba(features), atol=1e-8)


@pytest.mark.parametrize("estimation", ["closed_form", "em"])
def test_fewer_rows_than_dimensions_without_shrinkage_is_the_model_on_the_directions_that_vary(estimation):
    features, truth = drawn(counts=(4, 5, 6), width=30, seed=10)
    plda = PLDA(estimation=estimation).fit(features, truth)
    # the within-class scatter of 15 rows about 3 means has rank 12: written again on its own eigenvectors
    centred = features - np.array([features[truth == c].mean(axis=0) for c in range(3)])[truth]
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    directions = vectors[values > 1e-9 * values[0]].T
    assert directions.shape == (30, 12) and plda.axes_.shape == (30, 12)
    unseen = np.random.default_rng(11).normal(size=(5, 30)) + 3
    reduced = PLDA(estimation=estimation).fit(features @ directions, truth)
    np.testing.assert_allclose(plda.predict_proba(unseen), reduced.predict_proba(unseen @ directions), atol=1e-6)


@pytest.mark.parametrize(("counts", "shrinkage"), [((1, 6, 9), 0.0), ((1, 1, 12), 0.0), ((1, 6, 9), 0.3)])
def test_a_class_of_one_utterance_has_its_density_too(counts, shrinkage):
    features, truth = drawn(counts=counts, width=2, seed=12)
    model = estimates(features, truth, shrinkage)
    unseen = np.random.default_rng(9).normal(size=(6, 2)) * 4 + 3
    expected = np.array([[predictive(x, features[truth == c], *model) for c in range(3)] for x in unseen])
    np.testing.assert_allclose(
        PLDA(shrinkage).fit(features, truth).log_densities(unseen), expected, rtol=1e-8, atol=1e-8
    )


def test_a_class_without_utterances_is_no_class():
    features, truth = drawn(counts=(5, 6, 7), seed=13)
    spread = np.array([0, 2, 5])[truth]  # of six labels, three do not occur
    plda = PLDA().fit(features, spread)
    assert plda.classes_.tolist() == [0, 2, 5]
    np.testing.assert_array_equal(plda.predict_proba(features), PLDA().fit(features, truth).predict_proba(features))


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_em_never_lowers_the_likelihood_however_few_the_rows(seed, shrinkage):
    counts = np.random.default_rng(seed).integers(1, 8, size=5) + np.array([3, 0, 0, 0, 0])
    features, truth = drawn(counts=tuple(counts), width=4, seed=20 + seed)
    climb = PLDA(shrinkage, "em", iterations=60, tolerance=0.0).fit(features, truth).log_likelihood_
    assert (np.diff(climb) > -1e-9 * np.abs(climb[0])).all()


def test_on_balanced_classes_em_ends_where_the_likelihood_is_solved_in_closed_form():
    # equal counts n: the class means are N(mu, B + W/n) with population covariance M, the scatter about them S is
    # independent, so W = S / (N - C) and B = M - W/n; the unbiased closed form has M C / (C - 1) in place of M
    features, truth = drawn(counts=(7,) * 12, width=3, seed=14)
    means = features.reshape(12, 7, 3).mean(axis=1)
    centred = features - means[truth]
    within = centred.T @ centred / (84 - 12)
    for estimation, ddof in (("em", 0), ("closed_form", 1)):
        between = np.cov(means.T, ddof=ddof) - within / 7
        assert (np.linalg.eigvalsh(between) > 0).all()
        plda = PLDA(estimation=estimation, iterations=3000, tolerance=0.0).fit(features, truth)
        expected = [
            [predictive(x, features[truth == c], within, between, means.mean(0)) for c in range(12)] for x in means
        ]
        np.testing.assert_allclose(plda.log_densities(means), expected, rtol=1e-6)


def test_fewer_rows_than_dimensions_with_shrinkage_uses_them_all():
    features, truth = drawn(counts=(4, 5, 6), width=30, seed=10)
    plda = PLDA(shrinkage="ledoit_wolf").fit(features, truth)
    assert plda.axes_.shape == (30, 30)
    np.testing.assert_allclose(plda.predict_proba(features).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("truth", "message"), [([0, 0, 0], "hold 1 classes"), ([0, 1, 2], "no class varies within itself")]
)
def test_data_without_anything_to_learn_is_refused(truth, message):
    with pytest.raises(InputError, match=message):
        PLDA().fit(np.eye(3), np.array(truth))
