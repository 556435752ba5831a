"""Availability of experts by utterance; an expert without a prediction has NaN in its row."""

import numpy as np


def available(values: np.ndarray) -> np.ndarray:
    """Return where experts have values.

    Args:
        values: shape ``(n_experts, n, width)``, NaN rows where an expert is absent

    Returns:
        bool, shape ``(n_experts, n)``
    """
    return ~np.isnan(values).any(axis=2)


def patterns(present: np.ndarray) -> np.ndarray:
    """Return each set of present experts that occurs, bool, shape ``(n_patterns, n_experts)``.

    Args:
        present: bool, shape ``(n_experts, n)``
    """
    return np.unique(present.T, axis=0)


def mix(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the experts that are present, their weights scaled to sum to 1.

    Where all present experts have weight 0, they count alike.

    Args:
        values: shape ``(n_experts, n, width)``, NaN rows where an expert is absent
        weights: one or several, shape ``(..., n_experts)``, each summing to 1

    Returns:
        shape ``(..., n, width)``; NaN where no expert is present
    """
    present, weights = available(values), np.asarray(weights, dtype=np.float64)
    mixed = np.full((*weights.shape[:-1], *values.shape[1:]), np.nan)
    for pattern in patterns(present):
        rows = np.flatnonzero((pattern == present.T).all(axis=1))
        if pattern.any():
            shares = weights[..., pattern]
            shares = np.where(shares.sum(axis=-1, keepdims=True) > 0, shares, 1.0)
            shares = shares / shares.sum(axis=-1, keepdims=True)
            mixed[..., rows, :] = np.tensordot(shares, values[pattern][:, rows], axes=1)
    return mixed
