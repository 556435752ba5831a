"""Interpolation by hand and against scikit-learn's scores."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from pipeline_lib.fusion.interpolation import Interpolation
from tests.fusion.drawn import drawn


def test_weight_worked_out_by_hand():
    # fused p(0) = w a + (1 - w) b with (a, b): (0.9, 0.3) truth 0, (0.7, 0.2) truth 1, (0.2, 0.4) truth 1.
    # Right where w > 1/3, w < 3/5, always: with a step of 1/4 only w = 1/2 has macro-F1 1
    first, second = np.array([0.9, 0.7, 0.2]), np.array([0.3, 0.2, 0.4])
    posteriors = np.stack([np.stack([p, 1 - p], axis=1) for p in (first, second)])
    fuser = Interpolation(step=0.25).fit(posteriors, np.array([0, 1, 1]))
    np.testing.assert_array_equal(fuser.weights_, [0.5, 0.5])
    assert fuser.score_ == 1.0
    np.testing.assert_allclose(fuser.predict_proba(posteriors)[:, 0], [0.6, 0.45, 0.3])
    # w = 0: all taken for 1, F1 0 and 4/5
    assert fuser.criteria_[-1, 0] == pytest.approx(0.4)


def test_a_tie_in_macro_f1_goes_to_the_likelihood():
    # both experts are right everywhere, the second surer: its posterior alone has the best likelihood
    posteriors = np.array([[[0.6, 0.4], [0.4, 0.6]], [[0.9, 0.1], [0.1, 0.9]]])
    fuser = Interpolation(step=0.5).fit(posteriors, np.array([0, 1]))
    np.testing.assert_array_equal(fuser.weights_, [0.0, 1.0])
    np.testing.assert_allclose(fuser.criteria_[:, 1], np.log([0.6, 0.75, 0.9]))


def test_equal_experts_get_equal_weights():
    posteriors = np.repeat(drawn(n_experts=1)[0], 2, axis=0)
    np.testing.assert_array_equal(Interpolation().fit(posteriors, drawn()[1]).weights_, [0.5, 0.5])


@pytest.mark.parametrize("n_experts", [2, 3])
@pytest.mark.parametrize("objective", ["macro_f1", "unweighted_accuracy", "log_likelihood"])
def test_every_tried_weight_scores_as_in_scikit_learn(n_experts, objective):
    posteriors, truth = drawn(n_experts=n_experts, seed=3)
    fuser = Interpolation(step=0.25, objective=objective).fit(posteriors, truth)
    expected = []
    for weights in fuser.tried_:
        mixed = sum(w * p for w, p in zip(weights, posteriors, strict=True))
        taken = mixed.argmax(axis=1)
        expected.append(
            {
                "macro_f1": f1_score(truth, taken, average="macro"),
                "unweighted_accuracy": balanced_accuracy_score(truth, taken),
                "log_likelihood": np.log(mixed[np.arange(len(truth)), truth]).mean(),
            }[objective]
        )
    np.testing.assert_allclose(fuser.criteria_[:, 0], expected, rtol=1e-12)
    assert fuser.score_ == max(fuser.criteria_[:, 0])


def test_the_score_does_not_depend_on_how_many_weights_are_mixed_at_once(monkeypatch):
    posteriors, truth = drawn(n_experts=3)
    whole = Interpolation().fit(posteriors, truth)
    monkeypatch.setattr("pipeline_lib.fusion.interpolation._AT_ONCE", 1)
    np.testing.assert_allclose(Interpolation().fit(posteriors, truth).criteria_, whole.criteria_, rtol=1e-13)
