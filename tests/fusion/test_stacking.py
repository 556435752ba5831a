"""Classifiers on concatenated posteriors against the same written with scikit-learn, and all fusers on unseen data."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.logreg import StackedLogisticRegression
from pipeline_lib.fusion.plda import StackedPLDA
from tests.fusion.drawn import drawn


@pytest.mark.parametrize("penalty", [1.0, 0.2])
def test_it_is_scikit_learns_on_concatenated_posteriors_with_c_the_inverse_of_the_penalty(penalty):
    posteriors, truth = drawn()
    fuser = StackedLogisticRegression(penalty).fit(posteriors, truth)
    features = np.hstack([posteriors[0], posteriors[1]])
    reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=20_000).fit(features, truth)
    np.testing.assert_allclose(fuser.predict_proba(posteriors), reference.predict_proba(features), atol=1e-8)


def test_an_utterance_without_an_expert_is_fused_by_a_model_of_the_others():
    posteriors, truth = drawn()
    posteriors[1, :40] = np.nan
    fused = StackedLogisticRegression().fit(posteriors, truth).predict_proba(posteriors)
    alone = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000).fit(posteriors[0], truth)  # all rows have the first
    np.testing.assert_allclose(fused[:40], alone.predict_proba(posteriors[0, :40]), atol=1e-8)
    both = np.hstack([posteriors[0, 40:], posteriors[1, 40:]])
    pair = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000).fit(both, truth[40:])
    np.testing.assert_allclose(fused[40:], pair.predict_proba(both), atol=1e-8)


def test_a_set_of_experts_it_was_not_fitted_for_is_refused():
    posteriors, truth = drawn()
    fuser = StackedLogisticRegression().fit(posteriors, truth)
    posteriors[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"no classifier was fitted for the experts at \(1,\), only for \[\(0, 1\)\]"):
        fuser.predict_proba(posteriors)


def test_a_label_without_tuning_utterances_has_posterior_zero():
    posteriors, truth = drawn()
    fused = StackedLogisticRegression().fit(posteriors, np.where(truth == 2, 0, truth)).predict_proba(posteriors)
    assert (fused[:, 2] == 0).all()
    np.testing.assert_allclose(fused.sum(axis=1), 1)


def test_it_is_plda_on_centred_log_ratios():
    posteriors, truth = drawn(n_experts=3)
    ratios = [np.log(p / np.exp(np.log(p).mean(axis=1, keepdims=True))) for p in posteriors]
    reference = PLDA(shrinkage=0.2).fit(np.hstack(ratios), truth)
    fused = StackedPLDA(shrinkage=0.2, floor=1e-12).fit(posteriors, truth).predict_proba(posteriors)
    np.testing.assert_allclose(fused, reference.predict_proba(np.hstack(ratios)), atol=1e-8)


def test_without_shrinkage_the_direction_that_never_varies_is_left_out():
    posteriors, truth = drawn()
    fuser = StackedPLDA(shrinkage=0.0).fit(posteriors, truth)
    assert fuser.models_[(0, 1)].axes_.shape == (8, 6)
    assert (fuser.predict_proba(posteriors).argmax(axis=1) == truth).mean() > 0.7


def test_a_saturated_softmax_stays_finite():
    posteriors, truth = drawn()
    posteriors[0] = np.eye(4)[posteriors[0].argmax(axis=1)]
    assert np.isfinite(StackedPLDA().fit(posteriors, truth).predict_proba(posteriors)).all()


@pytest.mark.parametrize(
    "fuser", [Interpolation(), StackedLogisticRegression(), StackedPLDA()], ids=lambda f: type(f).__name__
)
def test_fusing_two_experts_beats_each_on_unseen_utterances(fuser):
    posteriors, truth = drawn(n=1200, seed=5)
    fuser.fit(posteriors[:, :400], truth[:400])
    fused = (fuser.predict_proba(posteriors[:, 400:]).argmax(axis=1) == truth[400:]).mean()
    assert fused > (posteriors[:, 400:].argmax(axis=2) == truth[400:]).mean(axis=1).max() + 0.03


def test_balanced_class_weights_are_copies_of_the_rarer_labels_rows():
    posteriors, truth = drawn(n=90, n_labels=3)
    rows = np.concatenate([np.flatnonzero(truth == k)[:n] for k, n in ((0, 24), (1, 12), (2, 6))])
    posteriors, truth = posteriors[:, rows], truth[rows]
    features = np.hstack([posteriors[0], posteriors[1]])
    copies = np.repeat(np.arange(42), np.array([1, 2, 4])[truth])  # 24 rows a label
    each = 42 / (3 * 24)  # a row of the most frequent label counts as much
    reference = LogisticRegression(C=each / 0.5, tol=1e-10, max_iter=20_000).fit(features[copies], truth[copies])
    fuser = StackedLogisticRegression(0.5, "balanced").fit(posteriors, truth)
    fused = fuser.predict_proba(posteriors)
    np.testing.assert_allclose(fused, reference.predict_proba(features), atol=1e-8)
    weighted = np.stack([fused[truth == k].mean(axis=0) for k in range(3)]).mean(axis=0)
    np.testing.assert_allclose(weighted, np.full(3, 1 / 3), atol=1e-7)  # the prior that it contains


def test_balanced_weights_of_two_labels_are_scikit_learns():
    posteriors, truth = drawn(n=120, n_labels=2)
    kept = np.flatnonzero((truth == 0) | (np.arange(120) % 4 == 0))
    posteriors, truth = posteriors[:, kept], truth[kept]
    features = np.hstack([posteriors[0], posteriors[1]])
    reference = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=20_000).fit(features, truth)
    fused = StackedLogisticRegression(1.0, "balanced").fit(posteriors, truth).predict_proba(posteriors)
    np.testing.assert_allclose(fused, reference.predict_proba(features), atol=1e-8)
