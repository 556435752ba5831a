r"""Scores of posteriors: calibration error and log likelihood. NumPy, pure."""

import numpy as np

from pipeline_lib.metrics.arrays import label_indices, ratio

_SMALLEST = np.finfo(np.float64).eps  # a probability below it counts as it does in the likelihood, as in scikit-learn


def expected_calibration_error(posterior: np.ndarray, truth: np.ndarray, bins: int) -> float:
    r"""Mean distance between how sure the posterior is and how often it is right (ECE).

    .. math:: \sum_b \frac{n_b}{n} \left| \mathrm{accuracy}_b - \mathrm{confidence}_b \right|

    Guo et al. 2017, with bins of equal width over the largest posterior.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        truth: label indices, shape ``(n,)``
        bins: how many

    Returns:
        error in [0, 1]; 0 is calibrated

    Raises:
        ValueError: see ``categories.confusion``; or a posterior that is not finite
    """
    count, confidence, right = calibration(posterior, truth, bins)
    return float((count * np.abs(right - confidence)).sum() / count.sum())


def calibration(posterior: np.ndarray, truth: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean confidence and accuracy of each bin ``(b / bins, (b + 1) / bins]``, 0 where a bin is empty.

    Args, Raises: see ``expected_calibration_error``.

    Returns:
        three arrays of shape ``(bins,)``
    """
    posterior = _posterior(posterior, truth)
    confidence = posterior.max(axis=1)
    right = posterior.argmax(axis=1) == truth
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    count = np.bincount(place, minlength=bins)
    sure = np.bincount(place, weights=confidence, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    return count, ratio(sure, count), ratio(hits, count)


def negative_log_likelihood(posterior: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log P(truth), natural logarithm, in [0, 36.05]: a probability counts as at least 2.2e-16.

    Args, Raises: see ``expected_calibration_error``.
    """
    posterior = _posterior(posterior, truth)
    return float(-np.log(np.maximum(posterior[np.arange(len(truth)), truth], _SMALLEST)).mean())


def _posterior(posterior: np.ndarray, truth: np.ndarray) -> np.ndarray:
    posterior = np.asarray(posterior, dtype=np.float64)
    if posterior.ndim != 2 or len(posterior) != len(truth):
        raise ValueError(f"posterior has shape {posterior.shape}, expected ({len(truth)}, n_labels)")
    bad = np.flatnonzero(~np.isfinite(posterior).all(axis=1))
    if len(bad):
        raise ValueError(f"posterior of utterance {bad[0]} is not finite")
    label_indices(truth, posterior.shape[1], "truth")
    return posterior
