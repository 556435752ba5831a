"""Paired tests against every swap written out, and against SciPy."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.scoring.bootstrap import tally_attributes, tally_categories
from pipeline_lib.scoring.permutation import difference, difference_interval, mcnemar_p, permutation_p

K = 3


def case(seed, n=40, speakers=6, gain=0.6):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, K, n)
    one = np.where(generator.random(n) < gain, truth, generator.integers(0, K, n))
    return truth, one, generator.integers(0, K, n), np.arange(n) % speakers


def enumerated(truth, one, other, speaker, score):
    """All 2^speakers swaps, each scored anew from the utterances."""
    observed, as_large = abs(score(truth, one) - score(truth, other)), []
    for swap in product([False, True], repeat=speaker.max() + 1):
        moved = np.array(swap)[speaker]
        a, b = np.where(moved, other, one), np.where(moved, one, other)
        as_large.append(abs(score(truth, a) - score(truth, b)) >= observed - 1e-12)
    return np.mean(as_large)


@pytest.mark.parametrize("seed", range(4))
def test_few_speakers_are_enumerated(seed):
    truth, one, other, speaker = case(seed)
    pair = [tally_categories(truth, prediction, speaker, K) for prediction in (one, other)]
    expected = enumerated(truth, one, other, speaker, lambda t, p: macro_f1(t, p, K))
    assert permutation_p(*pair, "macro_f1", permutations=32, seed=1) == expected


def test_concordances_are_swapped_alike():
    generator = np.random.default_rng(3)
    truth = generator.uniform(1, 7, 30)
    one, other, speaker = truth + generator.normal(0, 1, 30), truth + generator.normal(0, 2, 30), np.arange(30) % 5
    pair = [tally_attributes(truth[:, None], prediction[:, None], speaker, ["valence"]) for prediction in (one, other)]
    expected = enumerated(truth, one, other, speaker, concordance)
    assert permutation_p(*pair, "ccc_valence", permutations=100, seed=1) == expected


def test_worked_out_by_hand():
    # three speakers, one answer each, one system right, the other wrong: of 8 swaps only "none" and "all" differ by 1
    truth, speaker = np.zeros(3, dtype=int), np.arange(3)
    pair = [tally_categories(truth, prediction, speaker, 2) for prediction in (np.zeros(3, int), np.ones(3, int))]
    assert permutation_p(*pair, "wa", permutations=100, seed=1) == 2 / 8
    assert difference(*pair, "wa") == 1.0


def test_many_speakers_are_sampled_close_to_the_enumeration():
    truth, one, other, speaker = case(5, n=44, speakers=11, gain=0.25)
    pair = [tally_categories(truth, prediction, speaker, K) for prediction in (one, other)]
    exact = permutation_p(*pair, "ua", permutations=2**10, seed=1)
    sampled = permutation_p(*pair, "ua", permutations=1000, seed=1)
    assert exact != sampled
    assert sampled == pytest.approx(exact, abs=0.05)
    assert sampled == permutation_p(*pair, "ua", permutations=1000, seed=1)


def test_a_sampled_p_is_never_zero():
    truth = np.zeros(60, dtype=int)
    pair = [tally_categories(truth, prediction, np.arange(60), 2) for prediction in (truth, truth + 1)]
    assert permutation_p(*pair, "wa", permutations=200, seed=1) == 1 / 201


def test_the_same_answers_have_p_one():
    truth, one, _, speaker = case(7)
    tally = tally_categories(truth, one, speaker, K)
    assert permutation_p(tally, tally, "macro_f1", 100, 1) == 1.0


def test_under_the_null_hypothesis_p_is_about_uniform():
    p_values = []
    for seed in range(120):
        generator = np.random.default_rng(seed)
        truth, speaker = np.zeros(40, int), np.arange(40) % 8
        pair = [tally_categories(truth, generator.integers(0, 2, 40), speaker, 2) for _ in range(2)]
        p_values.append(permutation_p(*pair, "wa", 128, 1))
    assert np.mean(np.array(p_values) <= 0.05) <= 0.10
    assert 0.35 <= np.mean(np.array(p_values) <= 0.5) <= 0.65


def test_both_systems_are_resampled_with_the_same_speakers():
    # one is right wherever the other is, plus one utterance a speaker: every resample differs by exactly 1/4
    truth, speaker = np.zeros(24, dtype=int), np.repeat(np.arange(6), 4)
    generator = np.random.default_rng(1)
    other = np.where(np.arange(24) % 4 == 0, 1, generator.integers(0, 2, 24))
    one = np.where(np.arange(24) % 4 == 0, 0, other)
    pair = [tally_categories(truth, prediction, speaker, 2) for prediction in (one, other)]
    assert difference_interval(*pair, "wa", 200, 1, 0.95) == pytest.approx((0.25, 0.25), abs=1e-15)


@pytest.mark.parametrize(("only_one", "only_other"), [(0, 0), (5, 0), (7, 3), (3, 7), (4, 4), (700, 600)])
def test_mcnemar_is_a_fair_coin(only_one, only_other):
    one = np.array([True] * only_one + [False] * only_other + [True, False])
    other = np.array([False] * only_one + [True] * only_other + [True, False])
    n = only_one + only_other
    expected = binomtest(only_one, n).pvalue if n else 1.0
    assert mcnemar_p(one, other) == pytest.approx(expected, rel=1e-9)
