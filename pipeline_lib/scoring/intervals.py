r"""Intervals of scores and of differences of scores over speakers: jackknife-t, or the percentile bootstrap.

*Jackknife-t.* With :math:`\theta_{(i)}` the score without speaker :math:`i` of :math:`n`,

.. math:: s^2 = \frac{n - 1}{n} \sum_i (\theta_{(i)} - \bar\theta_{(\cdot)})^2, \qquad
   \theta \pm t_{\nu,\, (1 + c) / 2} \, s, \qquad \nu = \frac{(\sum_i m_i)^2}{\sum_i m_i^2} - 1

(Tukey 1958; Efron and Tibshirani 1993, chapter 11), with :math:`m_i` the utterances of speaker :math:`i`: of equal
speakers :math:`\nu = n - 1`, of unequal ones fewer degrees of freedom (Kish's effective number). A score in
[a, b] is taken to :math:`\log \frac{\theta - a}{b - \theta}` and back (delta method), one in [a, ∞) to
:math:`\log(\theta - a)`, so that no bound is outside; a difference stays as it is and is cut at its range. A score at
an end of its range in which no speaker changes anything has this one value for an interval: [1, 1] without an error.

*Percentile.* Speakers are drawn with replacement, and the middle share of the scores is kept. It is too narrow with
few speakers.

``benchmarks/intervals.py`` simulates the coverage of both. Below ``LEAST_SPEAKERS`` neither covers what it says where
scores are high, and an interval by utterance alone does so nowhere: there is none then.
"""

from collections.abc import Iterator

import numpy as np

from pipeline_lib.metrics.jackknife import LEAST_SPEAKERS, degrees_of_freedom, standard_error, student, within_span
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.tallies import Tally

_CELLS_AT_ONCE = 2**22  # draws x speakers held at a time; part of the result's definition, as the seed is

Bounds = tuple[float, float]


def intervals(tally: Tally, settings: IntervalSettings) -> dict[str, float]:
    """Return every metric of the tally with its bounds, ``<metric>_lo`` and ``<metric>_hi``, where it has any.

    Args:
        tally: of one system
        settings: method and confidence
    """
    values: dict[str, float] = {}
    drawn = _drawn(tally, settings)
    for name in tally.scores:
        values |= named(name, tally.score(name), _bounds(tally, name, settings, drawn))
    return values


def named(name: str, value: float, between: Bounds | None) -> dict[str, float]:
    """Return a score under its name, with its bounds under ``<name>_lo`` and ``<name>_hi`` where it has any.

    Args:
        name: of the metric
        value: of the score
        between: its bounds, None without an interval
    """
    return {name: value} | ({} if between is None else {f"{name}_lo": between[0], f"{name}_hi": between[1]})


def bounds(tally: Tally, metric: str, settings: IntervalSettings) -> Bounds | None:
    """Return the interval of a score, None with too few speakers.

    Args:
        tally: by speaker
        metric: name of a score of it
        settings: method and confidence

    Returns:
        lower and upper bound, in the metric's range
    """
    return _bounds(tally, metric, settings, _drawn(tally, settings))


def _drawn(tally: Tally, settings: IntervalSettings) -> np.ndarray | None:
    """Return the resampled sums, one draw for all metrics; None where the method needs none."""
    needed = settings.method == "percentile" and len(tally.sums) >= LEAST_SPEAKERS
    return resampled(tally.sums, settings.samples, settings.seed) if needed else None


def _bounds(tally: Tally, metric: str, settings: IntervalSettings, drawn: np.ndarray | None) -> Bounds | None:
    if len(tally.sums) < LEAST_SPEAKERS:
        return None
    score = tally.scores[metric]
    if drawn is not None:
        return interval(score(drawn), settings.confidence)
    whole = tally.sums.sum(axis=0)
    error = standard_error(score(whole - tally.sums))
    quantile = student(degrees_of_freedom(tally.sizes), (1 + settings.confidence) / 2)
    low, high = within_span(score(whole), quantile * error, tally.span)
    return float(low), float(high)


def difference_bounds(one: Tally, other: Tally, metric: str, settings: IntervalSettings) -> Bounds | None:
    """Return the interval of the difference of two systems, each speaker left out or drawn for both.

    Args:
        one: a system's tally by speaker
        other: the other's, over the same speakers of the same utterances
        metric: name of a score of both
        settings: method and confidence

    Returns:
        lower and upper bound, None with too few speakers
    """
    if len(one.sums) < LEAST_SPEAKERS:
        return None
    if settings.method == "percentile":
        drawn = [side.scores[metric](resampled(side.sums, settings.samples, settings.seed)) for side in (one, other)]
        return interval(drawn[0] - drawn[1], settings.confidence)
    gain, error = one.score(metric) - other.score(metric), difference_error(one, other, metric)
    half = float(student(degrees_of_freedom(one.sizes), (1 + settings.confidence) / 2)) * error
    widest = one.span[1] - one.span[0]
    return max(gain - half, -widest), min(gain + half, widest)


def difference_error(one: Tally, other: Tally, metric: str) -> float:
    """Return the jackknife's standard error of the difference of two systems' scores.

    Args:
        one: a system's tally by speaker
        other: the other's, over the same speakers of the same utterances
        metric: name of a score of both
    """
    left_out = [side.scores[metric](side.sums.sum(axis=0) - side.sums) for side in (one, other)]
    return float(standard_error(left_out[0] - left_out[1]))


def resampled(sums: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return the sums over ``n_speakers`` speakers drawn with replacement, once for each sample.

    The same seed, number of samples and number of speakers give the same draws: two systems over the same speakers are
    resampled in pairs.

    Args:
        sums: shape ``(n_speakers, ...)``
        samples: number of resamples
        seed: of the draws

    Returns:
        shape ``(samples, ...)``
    """
    n_clusters, flat = len(sums), sums.reshape(len(sums), -1)
    generator = np.random.default_rng([seed, n_clusters])
    parts = []
    for n in _portions(samples, n_clusters):
        drawn = generator.integers(0, n_clusters, (n, n_clusters))
        cell = drawn + n_clusters * np.arange(n)[:, None]
        times = np.bincount(cell.ravel(), minlength=n * n_clusters).reshape(n, n_clusters)
        parts.append(times.astype(np.float64) @ flat)
    return np.concatenate(parts).reshape(samples, *sums.shape[1:])


def interval(values: np.ndarray, confidence: float) -> Bounds:
    """Return the bounds of the central ``confidence`` share of the values (percentile interval).

    Args:
        values: shape ``(samples,)``
        confidence: in (0, 1)

    Returns:
        lower and upper bound, scalars in the unit of the values
    """
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _portions(total: int, width: int) -> Iterator[int]:
    """Yield parts of ``total`` such that part times ``width`` fits in memory."""
    size = max(1, _CELLS_AT_ONCE // width)
    for start in range(0, total, size):
        yield min(size, total - start)
