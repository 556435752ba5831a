"""The bootstrap against a loop that draws speakers and scores their utterances anew."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import accuracy, macro_f1, unweighted_accuracy
from pipeline_lib.scoring import bootstrap
from pipeline_lib.scoring.bootstrap import clusters, interval, intervals, resampled, tally_attributes, tally_categories

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


def test_the_bounds_are_quantiles_of_the_resampled_scores():
    truth, prediction, cluster = case(2)
    result = intervals(tally_categories(truth, prediction, cluster, K), 300, 7, 0.9)
    scores = [accuracy(truth[rows], prediction[rows], K) for rows in drawn_rows(cluster, 300, 7)]
    assert result["wa"] == pytest.approx(accuracy(truth, prediction, K), abs=1e-15)
    assert (result["wa_lo"], result["wa_hi"]) == pytest.approx(tuple(np.quantile(scores, [0.05, 0.95])), abs=1e-13)
    assert set(result) == {f"{m}{end}" for m in ("macro_f1", "ua", "wa", "weighted_f1") for end in ("", "_lo", "_hi")}


def test_an_interval_of_known_numbers():
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_resampling_in_portions_takes_other_draws_but_as_many(monkeypatch):
    sums = np.eye(5)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 15)
    drawn = resampled(sums, 7, seed=1)
    assert drawn.shape == (7, 5)
    np.testing.assert_array_equal(drawn.sum(axis=1), 5)


def test_speakers_are_clusters_and_an_unknown_speaker_is_one_by_itself():
    assert clusters(["b", "a", "b", None, None]).tolist() == [0, 1, 0, 2, 3]


def test_utterances_of_one_lone_speaker_are_resampled_one_by_one():
    assert clusters(["a", "a", "a"]).tolist() == [0, 1, 2]


def test_whole_speakers_make_a_wider_interval_than_utterances_where_speakers_differ():
    truth = np.zeros(200, dtype=int)
    speaker = np.repeat(np.arange(10), 20)
    prediction = (speaker < 5).astype(int)  # half of the speakers always right, half always wrong
    by_speaker = intervals(tally_categories(truth, prediction, speaker, 2), 1000, 1, 0.95)
    by_utterance = intervals(tally_categories(truth, prediction, np.arange(200), 2), 1000, 1, 0.95)
    assert by_speaker["wa_hi"] - by_speaker["wa_lo"] > 3 * (by_utterance["wa_hi"] - by_utterance["wa_lo"])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # 40 speakers of 5 utterances, each with an accuracy of its own around 0.6; the percentile interval is a bit short
    generator = np.random.default_rng(12)
    covered = 0
    for trial in range(200):
        skill = np.clip(generator.normal(0.6, 0.15, 40), 0, 1)
        right = generator.random((40, 5)) < skill[:, None]
        tally = tally_categories(np.zeros(200, int), 1 - right.ravel().astype(int), np.repeat(np.arange(40), 5), 2)
        low, high = interval(tally.scores["wa"](resampled(tally.sums, 300, trial)), 0.95)
        covered += low <= 0.6 <= high
    assert 0.90 <= covered / 200 <= 0.985
