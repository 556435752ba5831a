r"""Scores of categories: NumPy, pure.

Categories are label indices in ``[0, n_labels)``; the caller has dropped utterances without a scored label (-1, O, X).
Every score of categories is a function of the confusion matrix, and every ``*_of`` takes a stack of matrices, shape
``(..., n_labels, n_labels)``, so that a bootstrap over thousands of resampled matrices is one call.

All labels count, whether or not they occur. A label that is absent from truth *and* prediction has recall and F1 0, as
scikit-learn's ``labels=all, zero_division=0`` and audmetric have it. This lowers macro-F1 and UA of a split that lacks
a label (at most ``n_present / n_labels`` can be reached); scikit-learn's ``balanced_accuracy_score`` leaves such labels
out and is higher there. Where every label occurs the two agree.
"""

import numpy as np

from pipeline_lib.metrics.arrays import label_indices, ratio


def confusion(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> np.ndarray:
    """Return the confusion matrix.

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        counts, int64, shape ``(n_labels, n_labels)``; rows are the truth, columns the prediction

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list
    """
    truth, prediction = label_indices(truth, n_labels, "truth"), label_indices(prediction, n_labels, "prediction")
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} utterances, prediction {len(prediction)}")
    return np.bincount(truth * n_labels + prediction, minlength=n_labels**2).reshape(n_labels, n_labels)


def macro_f1(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    r"""Mean F1 of the labels.

    .. math:: \frac{1}{K} \sum_k \frac{2 c_{kk}}{\sum_j c_{kj} + \sum_j c_{jk}}

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        score ∈ [0, 1]

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list

    Examples:
        >>> macro_f1(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), 2)  # F1 of 4/5 and 2/3
        0.7333333333333334
    """
    return float(macro_f1_of(confusion(truth, prediction, n_labels)))


def weighted_f1(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Mean F1 of the labels, weighted by how often each occurs in the truth.

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        score ∈ [0, 1]

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list

    Examples:
        >>> weighted_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)  # (3 * 4/5 + 1 * 2/3) / 4
        0.7666666666666667
    """
    return float(weighted_f1_of(confusion(truth, prediction, n_labels)))


def unweighted_accuracy(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Mean recall of the labels (UA, UAR).

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        score ∈ [0, 1]; chance is 1 / n_labels

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list

    Examples:
        >>> unweighted_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)  # (2/3 + 1) / 2
        0.8333333333333333
    """
    return float(unweighted_accuracy_of(confusion(truth, prediction, n_labels)))


def accuracy(truth: np.ndarray, prediction: np.ndarray, n_labels: int) -> float:
    """Share of utterances that are right (WA).

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        n_labels: length of the full label list

    Returns:
        score ∈ [0, 1]

    Raises:
        ValueError: no utterance, different lengths, or an index outside the label list

    Examples:
        >>> accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
        0.75
    """
    return float(accuracy_of(confusion(truth, prediction, n_labels)))


def f1_of(cells: np.ndarray) -> np.ndarray:
    """Return each label's F1, 0 where it occurs in neither truth nor prediction.

    Args:
        cells: confusion counts, shape ``(..., n_labels, n_labels)``

    Returns:
        shape ``(..., n_labels)``, ∈ [0, 1]
    """
    return ratio(2 * _right(cells), cells.sum(axis=-1) + cells.sum(axis=-2))


def recall_of(cells: np.ndarray) -> np.ndarray:
    """Return each label's recall, 0 where it does not occur in the truth; shape ``(..., n_labels)``, ∈ [0, 1]."""
    return ratio(_right(cells), cells.sum(axis=-1))


def macro_f1_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean F1, shape ``(...)``, ∈ [0, 1]."""
    return f1_of(cells).mean(axis=-1)


def weighted_f1_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean F1 weighted by the truth's counts, shape ``(...)``, ∈ [0, 1]."""
    return ratio((f1_of(cells) * cells.sum(axis=-1)).sum(axis=-1), cells.sum(axis=(-1, -2)))


def unweighted_accuracy_of(cells: np.ndarray) -> np.ndarray:
    """Return the mean recall, shape ``(...)``, ∈ [0, 1]."""
    return recall_of(cells).mean(axis=-1)


def accuracy_of(cells: np.ndarray) -> np.ndarray:
    """Return the share on the diagonal, shape ``(...)``, ∈ [0, 1]."""
    return ratio(_right(cells).sum(axis=-1), cells.sum(axis=(-1, -2)))


def _right(cells: np.ndarray) -> np.ndarray:
    return np.diagonal(cells, axis1=-2, axis2=-1)
