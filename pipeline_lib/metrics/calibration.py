"""Calibration of posteriors: error, and bins of confidence. NumPy, pure."""

import numpy as np

from pipeline_lib.metrics.arrays import label_indices, ratio


def expected_calibration_error(posterior: np.ndarray, truth: np.ndarray, bins: int) -> float:
    r"""Mean distance between how sure the posterior is and how often it is right (ECE).

    .. math:: \sum_b \frac{n_b}{n} \left| \mathrm{accuracy}_b - \mathrm{confidence}_b \right|

    Guo et al., ICML 2017, equation 3, with bins of equal width over the largest posterior.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        truth: label indices, shape ``(n,)``
        bins: number of bins, at least 1

    Returns:
        error ∈ [0, 1]; 0 is calibrated

    Raises:
        ValueError: no utterance, different lengths, an index outside the label list, or a posterior that is not finite

    Examples:
        >>> expected_calibration_error(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]), 4)  # |1/2 - 3/4|
        0.25
    """
    count, confidence, right = calibration(posterior, truth, bins)
    return float((count * np.abs(right - confidence)).sum() / count.sum())


def calibration(posterior: np.ndarray, truth: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean confidence and accuracy of each bin ``(b / bins, (b + 1) / bins]``, 0 where a bin is empty.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        truth: label indices, shape ``(n,)``
        bins: number of bins, at least 1

    Returns:
        three arrays of shape ``(bins,)``: the counts sum to n, confidences and accuracies ∈ [0, 1]

    Raises:
        ValueError: no utterance, different lengths, an index outside the label list, or a posterior that is not finite
    """
    index, confidence, right = binned(posterior, truth, bins)
    count = np.bincount(index, minlength=bins)
    sure = np.bincount(index, weights=confidence, minlength=bins)
    hits = np.bincount(index, weights=right, minlength=bins)
    return count, ratio(sure, count), ratio(hits, count)


def binned(posterior: np.ndarray, truth: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each utterance's bin, how sure the posterior is of its choice, and whether that is right.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        truth: label indices, shape ``(n,)``
        bins: number of bins, at least 1

    Returns:
        int64 in [0, bins), float64 in [0, 1], bool, each of shape ``(n,)``

    Raises:
        ValueError: no utterance, different lengths, an index outside the label list, or a posterior that is not finite
    """
    posterior = _posterior(posterior, truth)
    confidence = posterior.max(axis=1)
    right = posterior.argmax(axis=1) == truth
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left"), confidence, right


def _posterior(posterior: np.ndarray, truth: np.ndarray) -> np.ndarray:
    posterior = np.asarray(posterior, dtype=np.float64)
    if posterior.ndim != 2 or len(posterior) != len(truth):
        raise ValueError(f"posterior has shape {posterior.shape}, expected ({len(truth)}, n_labels)")
    bad = np.flatnonzero(~np.isfinite(posterior).all(axis=1))
    if len(bad):
        raise ValueError(f"posterior of utterance {bad[0]} is not finite")
    label_indices(truth, posterior.shape[1], "truth")
    return posterior
