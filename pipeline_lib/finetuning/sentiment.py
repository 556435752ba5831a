"""Sentiment of an utterance, from its valence: negative, neutral or positive."""

from collections.abc import Sequence

import numpy as np


def sentiments(valence: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return 0, 1 or 2 for negative, neutral and positive, int64, shape ``(n,)``, -1 where the valence is missing.

    Chochlakis et al. name the "thresholds 3 and 5" and not which side they belong to: here up to the first is negative,
    from the second on positive.

    Args:
        valence: on the corpus's scale, shape ``(n,)``, NaN where missing
        thresholds: highest negative, lowest positive
    """
    classes = np.select([valence <= thresholds[0], valence >= thresholds[1]], [0, 2], default=1)
    return np.where(np.isnan(valence), -1, classes).astype(np.int64)
