"""The simulation of coverage computes what the report prints."""

import numpy as np
import pytest

from benchmarks import intervals as simulation
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.intervals import bounds, difference_bounds
from pipeline_lib.scoring.permutation import permutation_p
from pipeline_lib.scoring.tallies import Tally, category_scores


def tallied(counts):
    return Tally(counts, category_scores(counts.sum(axis=0)), counts.sum(axis=(1, 2)))


def test_intervals_and_p_values_of_all_corpora_at_once_are_those_of_each():
    ease = simulation.EASE["middling"]
    pair = simulation.draw(np.random.default_rng(1), 6, 5, ease, unequal=True).counts
    low, high = simulation.jackknife(pair[0])
    p = simulation.swap_p(pair)
    left_out_0 = []
    for i in range(5):
        one, other = (tallied(counts[:, i]) for counts in pair)
        assert bounds(one, "macro_f1", IntervalSettings()) == pytest.approx((low[i], high[i]), abs=1e-12)
        assert permutation_p(one, other, "macro_f1", 32, 1) == p[i]
        below, above = difference_bounds(one, other, "macro_f1", IntervalSettings())
        left_out_0.append(below > 0 or above < 0)
    assert simulation.differences(np.random.default_rng(1), pair)[0] == np.mean(left_out_0)


def test_the_interval_by_utterance_leaves_out_one_utterance_at_a_time():
    (counts, _) = simulation.draw(np.random.default_rng(2), 1, 1, simulation.EASE["middling"], unequal=False).counts
    cells = [(i, j) for i in range(6) for j in range(6) for _ in range(int(counts[0, 0, i, j]))]
    single = np.zeros((len(cells), 6, 6))
    single[np.arange(len(cells)), *np.transpose(cells)] = 1
    low, high = simulation.utterances(counts)
    expected = bounds(tallied(single), "macro_f1", IntervalSettings())
    assert expected == pytest.approx((low[0], high[0]), abs=1e-12)
