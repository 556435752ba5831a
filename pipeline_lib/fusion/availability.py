"""Which experts say something of an utterance; an expert that does not has NaN in its row."""

import numpy as np


def available(values: np.ndarray) -> np.ndarray:
    """Return where experts have values, bool, shape ``(n_experts, n)``; values are ``(n_experts, n, width)``."""
    return ~np.isnan(values).any(axis=2)


def patterns(present: np.ndarray) -> np.ndarray:
    """Return each set of present experts that occurs, bool, shape ``(n_patterns, n_experts)``.

    Args:
        present: shape ``(n_experts, n)``
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
    present = available(values).astype(np.float64)  # (E, n)
    filled = np.where(present[:, :, None] > 0, values, 0.0)
    weights = np.asarray(weights, dtype=np.float64)
    shares = weights[..., None] * present  # (..., E, n)
    total = shares.sum(axis=-2, keepdims=True)
    shares = np.where(total > 0, shares, present)
    total = shares.sum(axis=-2, keepdims=True)
    shares = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    return np.einsum("...en,enw->...nw", shares, filled)
