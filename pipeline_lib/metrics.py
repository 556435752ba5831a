r"""Scores of emotion recognition: NumPy, pure.

Categories are label indices in ``[0, n_labels)``; the caller has dropped utterances without a scored label (-1, O, X).
Every score of categories is a function of the confusion matrix, and every ``*_of`` takes a stack of matrices, shape
``(..., n_labels, n_labels)``, so that a bootstrap over thousands of resampled matrices is one call.

All labels count, whether or not they occur. A label that is absent from truth *and* prediction has recall and F1 0, as
scikit-learn's ``labels=all, zero_division=0`` and audmetric have it. This lowers macro-F1 and UA of a split that lacks
a label (at most ``n_present / n_labels`` can be reached); scikit-learn's ``balanced_accuracy_score`` leaves such labels
out and is higher there. Where every label occurs the two agree.

CCC divides by n (Lin 1989), as audmetric does. torchmetrics divides by n - 1, which moves the score away from 0 by less
than a factor of n / (n - 1), and not at all where the two means agree.
"""

import numpy as np

_SMALLEST = np.finfo(np.float64).eps  # a probability below it counts as it does in the likelihood, as in scikit-learn


def confusion(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> np.ndarray:
    """Return how often each label was taken for each.

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        counts, int64, shape ``(n_labels, n_labels)``; rows are the truth, columns the prediction

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list
    """
    truth, prediction = _label_indices(truth, n_labels, "truth"), _label_indices(prediction, n_labels, "prediction")
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} utterances, prediction {len(prediction)}")
    return np.bincount(truth * n_labels + prediction, minlength=n_labels**2).reshape(n_labels, n_labels)


def macro_f1(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    r"""Mean F1 of the labels.

    .. math:: \frac{1}{K} \sum_k \frac{2 c_{kk}}{\sum_j c_{kj} + \sum_j c_{jk}}

    Args and Raises: see ``confusion``.

    Returns:
        score in [0, 1]

    Examples:
        >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 2)  # F1 of 4/5 and 2/3
        0.7333333333333334
    """
    return float(macro_f1_of(confusion(truth, prediction, n_labels)))


def weighted_f1(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Mean F1 of the labels, weighted by how often each occurs in the truth; in [0, 1]. See ``macro_f1``."""
    return float(weighted_f1_of(confusion(truth, prediction, n_labels)))


def unweighted_accuracy(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Mean recall of the labels (UA, UAR); in [0, 1], chance is 1 / n_labels. See ``macro_f1``."""
    return float(unweighted_accuracy_of(confusion(truth, prediction, n_labels)))


def accuracy(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Share of utterances that are right (WA); in [0, 1]. See ``macro_f1``."""
    return float(accuracy_of(confusion(truth, prediction, n_labels)))


def f1_of(cells: np.ndarray) -> np.ndarray:
    """Return each label's F1, 0 where it occurs in neither truth nor prediction.

    Args:
        cells: confusion counts, shape ``(..., n_labels, n_labels)``

    Returns:
        shape ``(..., n_labels)``, in [0, 1]
    """
    return _ratio(2 * _right(cells), cells.sum(axis=-1) + cells.sum(axis=-2))


def recall_of(cells: np.ndarray) -> np.ndarray:
    """Return each label's recall, 0 where it does not occur in the truth; shape ``(..., n_labels)``, in [0, 1]."""
    return _ratio(_right(cells), cells.sum(axis=-1))


def macro_f1_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean F1, shape ``(...)``."""
    return f1_of(cells).mean(axis=-1)


def weighted_f1_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean F1 weighted by the truth's counts, shape ``(...)``."""
    return _ratio((f1_of(cells) * cells.sum(axis=-1)).sum(axis=-1), cells.sum(axis=(-1, -2)))


def unweighted_accuracy_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean recall, shape ``(...)``."""
    return recall_of(cells).mean(axis=-1)


def accuracy_of(cells: np.ndarray) -> np.ndarray:
    """Return the share on the diagonal, shape ``(...)``."""
    return _ratio(_right(cells).sum(axis=-1), cells.sum(axis=(-1, -2)))


def concordance(truth: np.ndarray, prediction: np.ndarray) -> float:
    r"""Lin's concordance correlation coefficient.

    .. math:: \frac{2 \sigma_{xy}}{\sigma_x^2 + \sigma_y^2 + (\mu_x - \mu_y)^2}

    Lin 1989, with population variances. A constant truth or prediction has covariance 0 and so scores 0. Where both are
    the same constant the formula is 0 / 0: that is 0 too, agreement without variation shows no concordance.

    Args:
        truth: shape ``(n,)``
        prediction: shape ``(n,)``

    Returns:
        score in [-1, 1]

    Raises:
        ValueError: no utterance, different lengths, or a value that is not finite

    Examples:
        >>> concordance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))  # 2 (2/3) / (2/3 + 2/3 + 1)
        0.5714285714285714
    """
    truth, prediction = _finite(truth, "truth"), _finite(prediction, "prediction")
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} utterances, prediction {len(prediction)}")
    return float(concordance_of(moments(truth, prediction, float(np.median(truth))).sum(axis=0)))


def moments(truth: np.ndarray, prediction: np.ndarray, centre: float) -> np.ndarray:
    """Return what each utterance adds to the concordance; the rows may be summed in any grouping.

    Args:
        truth: shape ``(n,)``
        prediction: shape ``(n,)``
        centre: near the middle of the truth; subtracting it from both leaves the score as it is and keeps its digits

    Returns:
        1, x, y, x^2, y^2 and x y, shape ``(n, 6)``
    """
    x, y = truth - centre, prediction - centre
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def concordance_of(sums: np.ndarray) -> np.ndarray:
    """Return the concordance of summed ``moments``, shape ``(..., 6)`` to ``(...)``; 0 where nothing is or varies."""
    mean_x, mean_y, square_x, square_y, product = np.moveaxis(_ratio(sums[..., 1:], sums[..., :1]), -1, 0)
    covariance = product - mean_x * mean_y
    spread = (square_x - mean_x**2) + (square_y - mean_y**2) + (mean_x - mean_y) ** 2
    varies = spread > 1e-14 * (square_x + square_y)  # less is rounding of two equal constants
    return np.where(varies, 2 * covariance / np.where(varies, spread, 1.0), 0.0)


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
        ValueError: see ``confusion``; or a posterior that is not finite
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
    return count, _ratio(sure, count), _ratio(hits, count)


def negative_log_likelihood(posterior: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log P(truth), natural logarithm, in [0, 36.05]: a probability counts as at least 2.2e-16.

    Args, Raises: see ``expected_calibration_error``.
    """
    posterior = _posterior(posterior, truth)
    return float(-np.log(np.maximum(posterior[np.arange(len(truth)), truth], _SMALLEST)).mean())


def _right(cells: np.ndarray) -> np.ndarray:
    return np.diagonal(cells, axis1=-2, axis2=-1)


def _ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return ``upper / lower``, 0 where ``lower`` is 0."""
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0.0)


def _label_indices(values: np.ndarray, n_labels: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not len(values) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} has shape {values.shape} and type {values.dtype}, wanted at least one integer index")
    outside = np.flatnonzero((values < 0) | (values >= n_labels))
    if len(outside):
        found = f"{name} of utterance {outside[0]} is {values[outside[0]]}"
        raise ValueError(f"{found}, wanted 0 to {n_labels - 1} (drop utterances without a scored label, -1, first)")
    return values.astype(np.int64)


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} has shape {values.shape}, wanted (n,) with at least one value")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} of utterance {bad[0]} is {values[bad[0]]} (drop utterances without a value first)")
    return values


def _posterior(posterior: np.ndarray, truth: np.ndarray) -> np.ndarray:
    posterior = np.asarray(posterior, dtype=np.float64)
    if posterior.ndim != 2 or len(posterior) != len(truth):
        raise ValueError(f"posterior has shape {posterior.shape}, wanted ({len(truth)}, n_labels)")
    bad = np.flatnonzero(~np.isfinite(posterior).all(axis=1))
    if len(bad):
        raise ValueError(f"posterior of utterance {bad[0]} is not finite")
    _label_indices(truth, posterior.shape[1], "truth")
    return posterior
