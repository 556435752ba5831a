"""Checks of features and labels that all classifiers share, and the softmax."""

import numpy as np

from pipeline_lib.errors import InputError


def labelled(features: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the features as float64, the classes that occur and the index of each row's class among them.

    Args:
        features: shape ``(n, width)``
        truth: label indices, shape ``(n,)``

    Returns:
        features ``(n, width)``, classes ``(n_classes,)`` sorted, class index ``(n,)`` in [0, n_classes)

    Raises:
        InputError: fewer than two classes occur, or a feature is not finite
        ValueError: shapes that do not fit
    """
    features, truth = as_features(features), np.asarray(truth)
    if truth.shape != (len(features),):
        raise ValueError(f"truth has shape {truth.shape}, features have {len(features)} rows")
    classes, class_of = np.unique(truth, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{len(features)} labelled rows hold {len(classes)} classes, a classifier needs at least two")
    return features, classes, class_of


def as_features(features: np.ndarray) -> np.ndarray:
    """Return the features as float64, shape ``(n, width)``.

    Args:
        features: any real dtype, shape ``(n, width)``, width > 0

    Raises:
        InputError: a value is not finite
        ValueError: not two-dimensional, or without columns
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"features have shape {features.shape}, expected (n, width)")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(f"features of row {bad[0]} are not finite ({len(bad)} rows; did a loss diverge?)")
    return features


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return ``exp(scores)`` scaled to sum to 1 along the last axis, without overflow.

    Args:
        scores: logarithms up to a constant a row, shape ``(..., n_classes)``

    Returns:
        same shape, in [0, 1]
    """
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
