"""Intervals against a jackknife written a second time, a case by hand, and simulated speakers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import t as student_t
from sklearn.metrics import f1_score

from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.cells import number
from pipeline_lib.scoring.intervals import (
    bounds,
    degrees_of_freedom,
    difference_bounds,
    interval,
    intervals,
    within_span,
)
from pipeline_lib.scoring.tallies import Tally, tally_attributes, tally_categories

K = 3
SETTINGS = IntervalSettings()
PERCENTILE = IntervalSettings(method="percentile", samples=300, seed=7, confidence=0.9)


def case(seed=0, n=120, speakers=9, skill=0.5):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, K, n)
    prediction = np.where(generator.random(n) < skill, truth, generator.integers(0, K, n))
    return truth, prediction, np.sort(generator.integers(0, speakers, n))


def jackknifed(score, speakers, confidence, *columns):
    """A second jackknife-t: pseudo-values of the utterances' score, on no scale but its own."""
    names = sorted({*speakers})
    n, whole = len(names), score(*columns)
    pseudo = [n * whole - (n - 1) * score(*(column[speakers != name] for column in columns)) for name in names]
    counts = np.array([np.sum(speakers == name) for name in names])
    freedom = counts.sum() ** 2 / (counts**2).sum() - 1
    return whole, student_t.ppf((1 + confidence) / 2, freedom) * np.std(pseudo, ddof=1) / math.sqrt(n)


def logistic(value):
    return 1 / (1 + math.exp(-value))


def macro(truth, prediction):
    return f1_score(truth, prediction, labels=range(K), average="macro", zero_division=0)


@pytest.mark.parametrize("seed", range(3))
def test_macro_f1_is_a_jackknife_of_pseudo_values_on_the_logit_scale(seed):
    truth, prediction, speaker = case(seed)
    tally = tally_categories(truth, prediction, speaker, K)
    whole, half = jackknifed(macro, speaker, 0.95, truth, prediction)
    centre, reach = math.log(whole / (1 - whole)), half / (whole * (1 - whole))
    expected = (logistic(centre - reach), logistic(centre + reach))
    assert bounds(tally, "macro_f1", SETTINGS) == pytest.approx(expected, abs=1e-12)


def test_concordance_is_a_jackknife_on_fishers_scale():
    generator = np.random.default_rng(3)
    speaker, truth = np.arange(80) % 8, generator.normal(size=80)
    prediction = 0.6 * truth + generator.normal(0.2, 0.5, 80)

    def lin(x, y):
        return 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

    tally = tally_attributes(truth[:, None], prediction[:, None], speaker, ["valence"])
    whole, half = jackknifed(lin, speaker, 0.9, truth, prediction)
    z, reach = math.atanh(whole), half / (1 - whole**2)
    expected = (math.tanh(z - reach), math.tanh(z + reach))
    settings = IntervalSettings(confidence=0.9)
    assert bounds(tally, "ccc_valence", settings) == pytest.approx(expected, abs=1e-12)


def test_six_speakers_worked_out_by_hand():
    # 10 utterances each, right 4, 5, 6, 7, 8, 6: accuracy 36/60 = .6, without a speaker (36 - r) / 50. Their mean is
    # .6, their squared deviations (r - 6)² / 2500 sum to 10 / 2500 = .004: s² = 5/6 * .004 = 1/300. t of 5 degrees of
    # freedom is 2.570582; half the width on the logit scale 2.570582 * .057735 / .24 = .618393, about log(.6/.4)
    sums = np.array([[[right, 10.0 - right], [0.0, 0.0]] for right in (4, 5, 6, 7, 8, 6)])
    tally = Tally(sums, {"wa": lambda c: c[..., 0, 0] / c.sum(axis=(-1, -2))}, np.full(6, 10.0))
    low, high = bounds(tally, "wa", SETTINGS)
    assert (low, high) == pytest.approx((0.44695, 0.73573), abs=2e-5)
    other = replace(tally, sums=sums[:, :, ::-1].copy())  # right where the other is wrong: .4, the difference is .2
    half = 2.570582 * 2 * math.sqrt(1 / 300)
    assert difference_bounds(tally, other, "wa", SETTINGS) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)


def test_a_perfect_system_has_one_and_one_also_where_one_speaker_alone_has_a_label():
    truth, _, speaker = case(1)
    truth[speaker != 4] %= 2
    for settings in (SETTINGS, PERCENTILE):
        values = intervals(tally_categories(truth, truth, speaker, K), settings)
        assert {values[name] for name in values} == {1.0}
        wrong = intervals(tally_categories(truth, (truth + 1) % K, speaker, K), settings)
        assert (wrong["wa_lo"], wrong["wa_hi"]) == (0.0, 0.0)


@pytest.mark.parametrize("speakers", [1, 2, 4])
def test_below_five_speakers_there_is_no_interval_and_a_dash_stands_there(speakers):
    truth, prediction, speaker = case(2, speakers=speakers)
    one, other = (tally_categories(truth, each, speaker, K) for each in (prediction, truth))
    for settings in (SETTINGS, PERCENTILE):
        values = intervals(one, settings)
        assert "macro_f1_lo" not in values and number(values, "wa", ".2f") == f"{values['wa']:.2f} [—]"
        assert difference_bounds(one, other, "macro_f1", settings) is None


def test_bounds_stay_in_the_range_and_open_where_the_score_is_near_an_end():
    for score, span in ((0.99, (0.0, 1.0)), (-0.98, (-1.0, 1.0)), (0.01, (0.0, np.inf))):
        low, high = within_span(np.array(score), np.array(0.2), span)
        assert span[0] < low < score < high < span[1]
    assert within_span(np.array(0.5), np.array(1e9), (0.0, 1.0)) == pytest.approx((0.0, 1.0))
    assert within_span(np.array(0.7), np.array(0.0), (0.0, 1.0)) == (0.7, 0.7)
    assert within_span(np.array(0.0), np.array(0.1), (0.0, 1.0)) == (0.0, 0.1)


def test_a_difference_is_cut_at_its_range():
    truth, speaker = np.zeros(10, int), np.repeat(np.arange(5), 2)
    one, other = np.zeros(10, int), np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    pair = [tally_categories(truth, each, speaker, 2) for each in (one, other)]
    low, high = difference_bounds(*pair, "wa", SETTINGS)
    assert 0 < low < 0.8 and high == 1.0


def test_unequal_speakers_have_fewer_degrees_of_freedom():
    assert degrees_of_freedom(np.full(7, 3.0)) == pytest.approx(6)
    assert degrees_of_freedom(np.array([8.0, 1.0, 1.0])) == 1.0  # 100 / 66 - 1 is less
    assert degrees_of_freedom(np.array([4.0, 2.0, 2.0, 2.0])) == pytest.approx(100 / 28 - 1)


def test_percentile_bounds_are_scipys():
    truth, prediction, speaker = case(2, speakers=30)
    tally = tally_categories(truth, prediction, speaker, K)
    right, sizes = tally.sums.trace(axis1=1, axis2=2), tally.sizes

    def accuracy(index):
        return right[index].sum() / sizes[index].sum()

    settings = IntervalSettings(method="percentile", samples=20_000, confidence=0.9)
    options = {"n_resamples": 20_000, "confidence_level": 0.9, "method": "percentile", "vectorized": False}
    theirs = scipy_bootstrap((np.arange(len(sizes)),), accuracy, rng=np.random.default_rng(1), **options)
    assert bounds(tally, "wa", settings) == pytest.approx(tuple(theirs.confidence_interval), abs=4e-3)
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))


def test_both_systems_leave_out_or_draw_the_same_speakers():
    # one is right wherever the other is, plus one utterance a speaker: every resample differs by exactly 1/4
    truth, speaker = np.zeros(24, dtype=int), np.repeat(np.arange(6), 4)
    generator = np.random.default_rng(1)
    other = np.where(np.arange(24) % 4 == 0, 1, generator.integers(0, 2, 24))
    one = np.where(np.arange(24) % 4 == 0, 0, other)
    pair = [tally_categories(truth, prediction, speaker, 2) for prediction in (one, other)]
    for settings in (SETTINGS, PERCENTILE):
        assert difference_bounds(*pair, "wa", settings) == pytest.approx((0.25, 0.25), abs=1e-14)


def test_whole_speakers_make_a_wider_interval_than_utterances_where_speakers_differ():
    truth = np.zeros(200, dtype=int)
    speaker = np.repeat(np.arange(10), 20)
    prediction = (speaker < 5).astype(int)  # half of the speakers always right, half always wrong
    by_speaker, by_utterance = (
        bounds(tally_categories(truth, prediction, unit, 2), "wa", SETTINGS) for unit in (speaker, np.arange(200))
    )
    assert by_speaker[1] - by_speaker[0] > 3 * (by_utterance[1] - by_utterance[0])


@pytest.mark.parametrize("n", [6, 20])
def test_the_interval_covers_the_truth_as_often_as_it_says(n):
    # speakers of 12 utterances, each with an accuracy of its own around 0.6
    generator = np.random.default_rng(12)
    covered = 0
    for _ in range(400):
        skill = np.clip(generator.normal(0.6, 0.15, n), 0, 1)
        right = generator.random((n, 12)) < skill[:, None]
        tally = tally_categories(np.zeros(12 * n, int), 1 - right.ravel().astype(int), np.repeat(np.arange(n), 12), 2)
        low, high = bounds(tally, "wa", SETTINGS)
        covered += low <= 0.6 <= high
    assert 0.92 <= covered / 400 <= 0.985
