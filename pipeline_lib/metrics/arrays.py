"""Checks and divisions that several scores share."""

import numpy as np


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return ``upper / lower``, 0 where ``lower`` is 0.

    Args:
        upper: numerators, shape ``(...)``
        lower: denominators, at least 0, of a shape that broadcasts with ``upper``

    Returns:
        float64, the broadcast shape
    """
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0.0)


def label_indices(values: np.ndarray, n_labels: int, name: str) -> np.ndarray:
    """Return checked label indices.

    Args:
        values: label indices, shape ``(n,)``, n >= 1, any integer type
        n_labels: length of the label list
        name: what the values are, for the error message

    Returns:
        int64, shape ``(n,)``, in [0, n_labels)

    Raises:
        ValueError: no value, another shape or type, or an index outside the label list
    """
    values = np.asarray(values)
    if values.ndim != 1 or not len(values) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(
            f"{name} has shape {values.shape} and type {values.dtype}, expected at least one integer index"
        )
    outside = np.flatnonzero((values < 0) | (values >= n_labels))
    if len(outside):
        first = f"{name} of utterance {outside[0]} is {values[outside[0]]}"
        raise ValueError(f"{first}, expected 0 to {n_labels - 1} (drop utterances without a scored label, -1, first)")
    return values.astype(np.int64)


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """Return checked attribute values.

    Args:
        values: shape ``(n,)``, n >= 1
        name: what the values are, for the error message

    Returns:
        float64, shape ``(n,)``, all finite

    Raises:
        ValueError: no value, another shape, or a value that is NaN or infinite
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} has shape {values.shape}, expected (n,) with at least one value")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} of utterance {bad[0]} is {values[bad[0]]} (drop utterances without a value first)")
    return values
