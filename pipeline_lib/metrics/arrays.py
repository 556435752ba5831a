"""Checks and divisions that several scores share."""

import numpy as np


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return ``upper / lower``, 0 where ``lower`` is 0."""
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0.0)


def label_indices(values: np.ndarray, n_labels: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not len(values) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(
            f"{name} has shape {values.shape} and type {values.dtype}, expected at least one integer index"
        )
    outside = np.flatnonzero((values < 0) | (values >= n_labels))
    if len(outside):
        found = f"{name} of utterance {outside[0]} is {values[outside[0]]}"
        raise ValueError(f"{found}, expected 0 to {n_labels - 1} (drop utterances without a scored label, -1, first)")
    return values.astype(np.int64)


def finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} has shape {values.shape}, expected (n,) with at least one value")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} of utterance {bad[0]} is {values[bad[0]]} (drop utterances without a value first)")
    return values
