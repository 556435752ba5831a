"""Sums by speaker against a loop that leaves out or draws speakers and scores their utterances anew."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.calibration import expected_calibration_error
from pipeline_lib.metrics.categories import f1_of, macro_f1, unweighted_accuracy
from pipeline_lib.scoring import intervals
from pipeline_lib.scoring.intervals import resampled
from pipeline_lib.scoring.scored_rows import speakers_of
from pipeline_lib.scoring.tallies import (
    by_label,
    category_scores,
    clusters,
    tally_attributes,
    tally_calibration,
    tally_categories,
)
from tests.scoring.corpora import drawn_manifest

K = 4


def case(seed=0, n=90, speakers=7):
    generator = np.random.default_rng(seed)
    truth, prediction = generator.integers(0, K, n), generator.integers(0, K, n)
    return truth, np.where(generator.random(n) < 0.5, truth, prediction), generator.integers(0, speakers, n)


def drawn_rows(cluster, samples, seed):
    """The draws again, as a loop: which utterances each resample consists of."""
    n_clusters = cluster.max() + 1
    draws = np.random.default_rng([seed, n_clusters]).integers(0, n_clusters, (samples, n_clusters))
    return [np.concatenate([np.flatnonzero(cluster == drawn) for drawn in draw]) for draw in draws]


def test_categories_equal_a_loop_over_resampled_utterances_exactly():
    truth, prediction, cluster = case()
    tally = tally_categories(truth, prediction, cluster, K)
    drawn = resampled(tally.sums, 50, seed=3)
    for i, rows in enumerate(drawn_rows(cluster, 50, seed=3)):
        assert {*truth[rows]} == {*range(K)}
        assert tally.scores["macro_f1"](drawn[i]) == macro_f1(truth[rows], prediction[rows], K)
        assert tally.scores["ua"](drawn[i]) == unweighted_accuracy(truth[rows], prediction[rows], K)
        options = {"labels": range(K), "average": "macro", "zero_division": 0}
        assert tally.scores["macro_f1"](drawn[i]) == pytest.approx(f1_score(truth[rows], prediction[rows], **options))
        assert tally.scores["ua"](drawn[i]) == pytest.approx(recall_score(truth[rows], prediction[rows], **options))


def test_concordance_equals_a_loop_over_resampled_utterances():
    generator = np.random.default_rng(1)
    _, _, cluster = case()
    truth = generator.uniform(1, 7, (90, 2))
    truth[::9, 1] = np.nan
    prediction = 0.5 * np.nan_to_num(truth) + generator.normal(2, 1, (90, 2))
    tally = tally_attributes(truth, prediction, cluster, ["arousal", "valence"])
    drawn = resampled(tally.sums, 40, seed=5)
    for i, rows in enumerate(drawn_rows(cluster, 40, seed=5)):
        known = rows[np.isfinite(truth[rows, 1])]
        arousal = concordance(truth[rows, 0], prediction[rows, 0])
        valence = concordance(truth[known, 1], prediction[known, 1])
        assert tally.scores["ccc_arousal"](drawn[i]) == pytest.approx(arousal, abs=1e-13)
        assert tally.scores["ccc_valence"](drawn[i]) == pytest.approx(valence, abs=1e-13)
        assert tally.scores["ccc_mean"](drawn[i]) == pytest.approx((arousal + valence) / 2, abs=1e-13)


def test_the_calibration_error_without_a_speaker_is_that_of_the_other_utterances():
    truth, _, cluster = case(4)
    posterior = np.random.default_rng(5).dirichlet(np.ones(K), 90)
    tally = tally_calibration(posterior, truth, cluster, 10)
    assert tally.score("ece") == pytest.approx(expected_calibration_error(posterior, truth, 10), abs=1e-15)
    left_out = tally.scores["ece"](tally.sums.sum(axis=0) - tally.sums)
    for k in range(7):
        others = cluster != k
        expected = expected_calibration_error(posterior[others], truth[others], 10)
        assert left_out[k] == pytest.approx(expected, abs=1e-14)
    assert tally.sizes.tolist() == np.bincount(cluster).tolist()


def test_resampling_in_portions_takes_other_draws_but_as_many(monkeypatch):
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 15)
    drawn = resampled(np.eye(5), 7, seed=1)
    assert drawn.shape == (7, 5)
    np.testing.assert_array_equal(drawn.sum(axis=1), 5)


def test_utterances_without_a_speaker_are_one_cluster():
    assert clusters(["b", "a", "b", None, None]).tolist() == [0, 1, 0, 2, 2]
    assert clusters(["a", "a", "a"]).tolist() == clusters([None] * 3).tolist() == [0, 0, 0]


def test_a_label_without_an_utterance_left_keeps_its_score_by_hand():
    # label 2 is one speaker's: without this speaker it has no utterance, and keeps F1 2/3 and recall 1/2
    truth, prediction = np.array([0, 1, 0, 1, 2, 2]), np.array([0, 1, 0, 0, 2, 1])
    tally = tally_categories(truth, prediction, np.array([0, 0, 1, 1, 2, 2]), 3)
    without = tally.sums.sum(axis=0) - tally.sums[2]
    assert tally.scores["macro_f1"](without) == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3, abs=1e-15)
    assert tally.scores["ua"](without) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3, abs=1e-15)
    assert tally.scores["wa"](without) == 3 / 4


def test_means_over_the_labels_that_occur_are_scikit_learns_where_the_split_lacks_one():
    truth, prediction, cluster = case(6)
    truth[truth == 3] = 0
    tally = tally_categories(truth, prediction, cluster, K)
    options = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert tally.score("ua_present") == pytest.approx(balanced_accuracy_score(truth, prediction), abs=1e-15)
    assert tally.score("macro_f1_present") == pytest.approx(f1_score(truth, prediction, **options), abs=1e-15)
    assert tally.score("macro_f1") == pytest.approx(0.75 * tally.score("macro_f1_present"), abs=1e-15)
    assert "macro_f1_present" not in tally_categories(*case(), K).scores


def test_only_the_first_labels_count_where_so_many_are():
    cells = np.array([[3.0, 1.0, 1.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0]])
    scores = category_scores(cells, counted=2)
    assert scores["ua"](cells) == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert scores["macro_f1"](cells) == pytest.approx((6 / 8 + 4 / 7) / 2)
    assert "ua_present" not in scores and "ua_present" in category_scores(cells)


def test_a_stack_of_splits_keeps_each_its_own_score():
    whole = np.array([[[2.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 0.0]]])
    left = whole * np.array([[1.0], [0.0]])  # no utterance of label 1 is left
    expected = [f1_of(left[i])[0] for i in range(2)], [f1_of(whole[i])[1] for i in range(2)]
    np.testing.assert_array_equal(by_label(f1_of, whole)(left), np.transpose(expected))


def test_speakers_of_a_manifest_are_numbered_alike():
    manifest = drawn_manifest()
    manifest.frame.loc[[3, 40, 41], "speaker"] = None
    rows = np.arange(len(manifest)) % 5 > 0
    names = [name if isinstance(name, str) else None for name in manifest.frame["speaker"][rows]]
    assert speakers_of(manifest, rows).tolist() == clusters(names).tolist()
