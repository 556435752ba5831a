r"""Intervals over speakers by jackknife-t, and that of a rate of errors.

With :math:`\theta_{(i)}` the score without speaker i of n, :math:`s^2 = \frac{n - 1}{n} \sum_i (\theta_{(i)} -
\bar\theta_{(\cdot)})^2` (Tukey 1958; Efron and Tibshirani 1993, chapter 11), and Student's t has Kish's effective
number of speakers less 1 degrees of freedom. A score is taken to the logarithm of its distance from the ends of its
range and back (delta method), so that no bound is outside.
"""

import math

import numpy as np

LEAST_SPEAKERS = 5  # with fewer the interval does not cover what it says


def rate_bounds(errors: np.ndarray, words: np.ndarray, confidence: float) -> tuple[float, float] | None:
    """Return the interval of a rate of errors over speakers, None with fewer than ``LEAST_SPEAKERS``.

    Args:
        errors: of each speaker, at least 0, shape ``(n_speakers,)``
        words: of each speaker's references, shape ``(n_speakers,)``, above 0 without any one speaker
        confidence: in (0, 1)

    Returns:
        lower and upper bound, in [0, inf)
    """
    spoken = words > 0
    if spoken.sum() < LEAST_SPEAKERS:
        return None
    rate = errors.sum() / words.sum()
    left_out = (errors.sum() - errors) / (words.sum() - words)
    half = student(degrees_of_freedom(words), (1 + confidence) / 2) * standard_error(left_out)
    low, high = within_span(rate, half, (0.0, math.inf))
    return float(low), float(high)


def standard_error(left_out: np.ndarray) -> np.ndarray:
    """Return the jackknife's standard error.

    Args:
        left_out: the scores without one speaker each, shape ``(n_speakers, ...)``

    Returns:
        shape ``(...)``
    """
    n = len(left_out)
    return np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))


def degrees_of_freedom(sizes: np.ndarray) -> np.ndarray:
    """Return Kish's effective number of speakers less 1, and at least 1.

    Args:
        sizes: utterances of each speaker, shape ``(n_speakers, ...)``, their sum above 0

    Returns:
        shape ``(...)``, in [1, n_speakers - 1]; float rounding apart
    """
    return np.maximum(sizes.sum(axis=0) ** 2 / (sizes**2).sum(axis=0) - 1, 1.0)


def student(freedom: np.ndarray | float, probability: float) -> np.ndarray:
    """Return the quantile of Student's t distribution.

    Args:
        freedom: degrees of freedom, above 0, shape ``(...)``
        probability: in (0, 1)

    Returns:
        shape ``(...)``
    """
    from scipy.special import stdtrit  # takes longer to load than all else here

    return stdtrit(freedom, probability)


def within_span(score: np.ndarray, half: np.ndarray, span: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds in the range of the metric, symmetric about the score on the logarithmic scale of the module.

    Args:
        score: shape ``(...)``, in ``span``
        half: half the width that the interval has without a range, at least 0, shape ``(...)``
        span: least and greatest value of the metric; the greatest may be infinite

    Returns:
        lower and upper bounds, each of shape ``(...)``; of a score at an end of its range cut there
    """
    low, high = span
    inside = (score > low) & (score < high)
    up = np.where(inside, score - low, 1.0)
    if np.isinf(high):
        reach = np.exp(np.minimum(half / up, 700.0))
        lower, upper = low + up / reach, low + up * reach
    else:
        down = np.where(inside, high - score, 1.0)
        reach = np.exp(np.minimum(half * (high - low) / (up * down), 350.0))
        lower = low + (high - low) * up / (up + down * reach)
        upper = low + (high - low) * up * reach / (up * reach + down)
    cut = np.clip(score - half, low, high), np.clip(score + half, low, high)
    moved = inside & (half > 0)  # without an error the bounds are the score, to the last digit
    return np.where(moved, lower, cut[0]), np.where(moved, upper, cut[1])
