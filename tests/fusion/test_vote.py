"""The hard vote against counting by hand."""

from collections import Counter

import numpy as np

from pipeline_lib.fusion.vote import Vote
from tests.fusion.drawn import drawn


def test_votes_counted_by_hand_and_a_tie_goes_to_the_mean_posterior():
    posteriors = np.array(
        [
            [[0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [1.0, 0.0, 0.0]],
            [[0.6, 0.4, 0.0], [0.1, 0.7, 0.2], [np.nan] * 3],
            [[0.0, 1.0, 0.0], [0.3, 0.3, 0.4], [np.nan] * 3],
        ]
    )
    fused = Vote().fit(posteriors, np.zeros(3, int)).predict_proba(posteriors)
    # two votes of three against the larger mean posterior (.4, .6, 0)
    np.testing.assert_allclose(fused[0], np.array([2 + 0.4, 1 + 0.6, 0]) / 4)
    # one vote each: the mean posterior (.3, 1.3/3, .8/3) decides
    np.testing.assert_allclose(fused[1], np.array([1 + 0.3, 1 + 1.3 / 3, 1 + 0.8 / 3]) / 4)
    np.testing.assert_allclose(fused[2], [1.0, 0.0, 0.0])
    assert fused.argmax(axis=1).tolist() == [0, 1, 0]


def test_it_is_the_majority_of_a_loop_over_utterances_with_absent_experts():
    posteriors, truth = drawn(n=300, n_experts=6, seed=2)
    posteriors[np.random.default_rng(3).random((6, 300)) < 0.3] = np.nan
    posteriors[0, np.isnan(posteriors).all(axis=(0, 2))] = 0.25
    fused = Vote().fit(posteriors, truth).predict_proba(posteriors)
    np.testing.assert_allclose(fused.sum(axis=1), 1)
    for i in range(300):
        present = [row for row in posteriors[:, i] if not np.isnan(row).any()]
        votes = Counter(int(row.argmax()) for row in present)
        mean = np.mean(present, axis=0)
        tied = [label for label, count in votes.items() if count == max(votes.values())]
        assert fused[i].argmax() == max(tied, key=lambda label: mean[label])


def test_no_expert_gives_nan():
    assert np.isnan(Vote().predict_proba(np.full((2, 1, 3), np.nan))).all()
