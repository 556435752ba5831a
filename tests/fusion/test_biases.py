"""Class biases against a brute-force search, and what they may know."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from pipeline_lib.fusion import model
from pipeline_lib.fusion.biases import Biased, biased, tune
from pipeline_lib.fusion.describe import describe
from pipeline_lib.fusion.folds import folds
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.params.base import ParameterError
from pipeline_lib.tables import predictions
from pipeline_lib.tables.provenance import Provenance
from tests.fusion.drawn import drawn
from tests.fusion.experts import METHODS, NO_ATTRIBUTES, corpus, expert, pair, settings

BIASES = {"objective": "macro_f1", "step": 0.5, "largest": 1.5}


def skewed(seed=0, n=200, n_labels=3):
    """Return posteriors under a prior that is not that of the truth."""
    posteriors, truth = drawn(n=n, n_labels=n_labels, n_experts=1, seed=seed)
    weighted = posteriors[0] * np.array([6.0, 1.0, 0.3])[:n_labels]
    return weighted / weighted.sum(axis=1, keepdims=True), truth


def skewed_pair(of):
    """Return two experts under a prior that is not that of the truth, without attributes."""
    experts = []
    for each in pair(of, **NO_ATTRIBUTES):
        weighted = each.posterior * np.array([6.0, 1.0, 0.3])
        skew = weighted / weighted.sum(axis=1, keepdims=True)
        experts.append(replace(each, posterior=skew, attributes=None, attribute_names=()))
    return experts


def scored(posterior, truth, biases, objective):
    chosen = (posterior * np.exp(biases)).argmax(axis=1)
    options = {"labels": range(posterior.shape[1]), "average": "macro", "zero_division": 0}
    return {"macro_f1": f1_score, "unweighted_accuracy": recall_score}[objective](truth, chosen, **options)


@pytest.mark.parametrize("objective", ["macro_f1", "unweighted_accuracy"])
def test_each_step_takes_the_best_of_all_biases_of_a_label(objective):
    posterior, truth = skewed()
    expected, grid = np.zeros(3), sorted(np.arange(-4, 5) * 0.5, key=lambda b: (abs(b), b))
    for _ in range(10):
        before = expected.copy()
        for label in range(3):
            tried = []
            for bias in grid:
                expected[label] = bias
                tried.append(round(scored(posterior, truth, expected, objective), 12))
            expected[label] = grid[int(np.argmax(tried))]
        if (expected == before).all():
            break
    np.testing.assert_allclose(tune(posterior, truth, objective, 0.5, 2.0, 10), expected, atol=1e-15)


def test_with_two_labels_no_pair_of_the_grid_scores_better():
    posterior, truth = skewed(seed=1, n_labels=2)
    biases = tune(posterior, truth, step=0.5, largest=1.5)
    grid = product(np.arange(-3, 4) * 0.5, repeat=2)
    best = max(scored(posterior, truth, np.array(values), "macro_f1") for values in grid)
    assert scored(posterior, truth, biases, "macro_f1") == pytest.approx(best, abs=1e-12)


def test_they_make_up_for_a_prior_that_is_not_that_of_the_truth():
    posterior, truth = skewed(seed=2, n=3000)
    biases = tune(posterior[:1500], truth[:1500])
    gain = scored(posterior[1500:], truth[1500:], biases, "macro_f1")
    assert gain > scored(posterior[1500:], truth[1500:], np.zeros(3), "macro_f1") + 0.1
    np.testing.assert_allclose(np.diff(biases), np.diff(np.log([1 / 6, 1.0, 1 / 0.3])), atol=0.35)


def test_a_label_without_truth_keeps_its_bias_and_a_good_posterior_keeps_all():
    posterior, truth = skewed(seed=3)
    assert tune(posterior, np.where(truth == 2, 0, truth))[2] == 0
    np.testing.assert_array_equal(tune(np.eye(3)[truth] * 0.7 + 0.1, truth), np.zeros(3))


def test_a_bias_is_the_replacement_of_a_prior():
    posterior, _ = skewed()
    weighted = posterior * [2.0, 0.5, 1.0]
    expected = weighted / weighted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(biased(posterior, np.log([2.0, 0.5, 1.0])), expected, rtol=1e-14)


def test_they_are_tuned_on_fusers_of_other_speakers():
    of = corpus()
    experts = skewed_pair(of)
    result = fuse(experts, of, settings(class_biases=BIASES))
    tuning = np.flatnonzero(of.mask("dev_bal"))
    speakers, truth = of.frame["speaker"].to_numpy()[tuning].tolist(), of.truth()[tuning]
    posteriors = np.stack([each.posterior for each in experts])[:, tuning]
    fold, held_out = folds(truth, speakers, 5, 1), np.empty((len(tuning), 3))
    for k in range(5):
        fuser = Interpolation().fit(posteriors[:, fold != k], truth[fold != k])
        held_out[fold == k] = fuser.predict_proba(posteriors[:, fold == k])
    expected = tune(held_out, truth, **BIASES)
    np.testing.assert_array_equal(result.fuser.biases_, expected)
    assert expected.any()
    plain = fuse(experts, of, settings()).fused
    np.testing.assert_allclose(result.fused.posterior, biased(plain.posterior, expected), rtol=1e-14)
    np.testing.assert_allclose(result.fused.training_prior, np.exp(expected) / np.exp(expected).sum(), rtol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_the_crossfitted_posterior_knows_no_speaker_by_its_biases(method):
    of = corpus()
    tuning = np.flatnonzero(of.mask("dev_bal"))
    fold = folds(of.truth()[tuning], of.frame["speaker"].to_numpy()[tuning].tolist(), 5, 1)
    given = settings(method=method, class_biases=BIASES)
    result = fuse(skewed_pair(of), of, given).crossfitted.posterior[fold == 0]
    subsets = [[] if row in set(tuning[fold == 0]) else s for row, s in enumerate(of.frame["subsets"])]
    without = type(of)(of.frame.assign(subsets=subsets), of.corpus, of.labels)
    alone = fuse(skewed_pair(of), without, given).fused.posterior[tuning[fold == 0]]
    np.testing.assert_allclose(result, alone, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_saved_model_has_them(tmp_path, method):
    of, given = corpus(), settings(method=method, class_biases=BIASES)
    experts = skewed_pair(of)
    result = fuse(experts, of, given)
    model.write(tmp_path / "fusion", result, given)
    loaded = model.read(tmp_path / "fusion")
    assert isinstance(loaded.fuser, Biased)
    assert loaded.fuser.biases_.any() or method in ("logreg", "plda")  # which may have learned the prior
    posteriors = predictions.stack(experts, of.ids)[0]
    np.testing.assert_array_equal(loaded.fuser.predict_proba(posteriors), result.fused.posterior)
    record = json.loads((tmp_path / "fusion/fusion.json").read_text())["categories"]["class_biases"]
    assert [*record.values()] == result.fuser.biases_.tolist() and tuple(record) == of.labels
    assert f", biases anger {record['anger']:+.2g}, neutral" in describe(result, given)[0]


def test_one_expert_may_have_biases(tmp_path):
    of, given = corpus(), settings(experts=["audio"], class_biases=BIASES)
    single = expert(of, "audio", 5, **NO_ATTRIBUTES)
    result = fuse([single], of, given)
    np.testing.assert_allclose(result.fused.posterior, biased(single.posterior, result.fuser.biases_), rtol=1e-12)
    assert result.fused.fitted_on == ("dev_bal",)
    assert describe(result, given)[0].startswith("categories: interpolation of audio 1, biases anger")
    model.write(tmp_path / "fusion", result, given)
    fused = model.read(tmp_path / "fusion").fuser.predict_proba(single.posterior[None])
    np.testing.assert_array_equal(fused, result.fused.posterior)


def test_a_vote_without_biases_and_attributes_is_fitted_on_nothing():
    of = corpus()
    experts = [
        expert(of, name, i, provenance=Provenance(("dev",)), **NO_ATTRIBUTES)
        for i, name in enumerate(("audio", "text"))
    ]
    result = fuse(experts, of, settings(method="vote"))
    assert result.fused.fitted_on == ("dev",) and result.fused.training_prior is None
    assert fuse(experts, of, settings(method="vote", class_biases=BIASES)).fused.fitted_on == ("dev", "dev_bal")


def test_a_step_beyond_the_largest_bias_is_refused():
    with pytest.raises(ParameterError, match="fusion.class_biases: step is 2.0, expected at most largest, 1.0"):
        settings(class_biases={"step": 2.0, "largest": 1.0})
