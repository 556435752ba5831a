"""The paired test against every swap written out, and what it can show at all."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import t

from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.scoring.permutation import detectable, difference, least_p, permutation_p
from pipeline_lib.scoring.tallies import Tally, tally_attributes, tally_categories

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


def test_the_smallest_p_is_what_a_difference_for_every_speaker_has():
    for speakers, permutations in ((2, 100), (5, 100), (6, 100), (60, 200)):
        truth = np.zeros(speakers, dtype=int)
        pair = [tally_categories(truth, each, np.arange(speakers), 2) for each in (truth, truth + 1)]
        assert least_p(*pair, permutations) == permutation_p(*pair, "wa", permutations, 1)
    assert least_p(*pair, 200) == 1 / 201
    truth, speaker = np.zeros(8, dtype=int), np.arange(8)
    pair = [tally_categories(truth, each, speaker, 2) for each in (truth, (speaker < 5).astype(int))]
    assert least_p(*pair, 1000) == permutation_p(*pair, "wa", 1000, 1) == 2 / 2**5  # three speakers do not differ
    assert least_p(pair[0], pair[0], 1000) == permutation_p(pair[0], pair[0], "wa", 1000, 1) == 1.0


def test_the_detectable_difference_by_hand_and_where_there_is_none():
    # speakers gain 1, 2, 3, 4, 5, 3 of 10: the variance of their mean is 2 / 6 / 10², 1/300 as in test_intervals
    sums = np.zeros((6, 2, 2))
    sums[:, 0, 0], sums[:, 0, 1] = (4, 5, 6, 7, 8, 6), (6, 5, 4, 3, 2, 4)
    scores = {"wa": lambda cells: cells[..., 0, 0] / cells.sum(axis=(-1, -2))}
    one = Tally(sums, scores, np.full(6, 10.0))
    other = Tally(np.broadcast_to(np.array([[3.0, 7.0], [0.0, 0.0]]), (6, 2, 2)).copy(), scores, np.full(6, 10.0))
    expected = (t.ppf(0.975, 5) + t.ppf(0.8, 5)) * np.sqrt(1 / 300)
    assert detectable(one, other, "wa", least_p(one, other, 100)) == pytest.approx(expected, abs=1e-12)
    assert detectable(one, other, "wa", 0.0625) is None


def test_a_difference_of_the_detectable_size_is_detected_about_four_times_in_five():
    generator, n, detected, sizes = np.random.default_rng(4), 10, 0, []
    for _ in range(200):
        base = generator.binomial(40, 0.5, n)
        lead = np.clip(base + generator.normal(5.0, 5.0, n).round().astype(int), 0, 40)
        truth, speaker = np.zeros(40 * n, int), np.repeat(np.arange(n), 40)
        pair = [
            tally_categories(truth, (np.tile(np.arange(40), n) >= np.repeat(right, 40)).astype(int), speaker, 2)
            for right in (lead, base)
        ]
        sizes.append(detectable(*pair, "wa", least_p(*pair, 1024)))
        detected += permutation_p(*pair, "wa", 1024, 1) <= 0.05
    assert np.mean(sizes) == pytest.approx(5 / 40, rel=0.1)  # so the gain of 5 of 40 is the detectable one
    assert 0.72 <= detected / 200 <= 0.9
