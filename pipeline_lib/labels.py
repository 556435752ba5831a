"""Emotion labels, the pseudo-labels O and X, and the attributes.

The eight primary emotions and their letters are MSP-Podcast's (Lotfian and Busso 2017). O stands for "other" and X for
"no agreement"; both may be trained on, neither is ever scored. A corpus may have labels of its own ("calm", "boredom"):
its label list travels with its manifest.
"""

from collections.abc import Mapping, Sequence

import numpy as np

LETTERS = {
    "A": "anger",
    "C": "contempt",
    "D": "disgust",
    "F": "fear",
    "H": "happiness",
    "N": "neutral",
    "S": "sadness",
    "U": "surprise",
}
PRIMARY = tuple(LETTERS.values())
OTHER, NO_AGREEMENT = "O", "X"
PSEUDO = (OTHER, NO_AGREEMENT)
ATTRIBUTES = ("arousal", "valence", "dominance")
GENDERS = ("female", "male")  # those that are trained on; a manifest may hold others


def consensus(votes: Mapping[str, int]) -> str:
    """Return the label with the most votes, X where several have the most or nobody voted.

    MSP-Podcast's plurality rule. TalTech, section 3.1, trains on these labels.

    Examples:
        >>> consensus({"anger": 3, "neutral": 2}), consensus({"anger": 2, "neutral": 2})
        ('anger', 'X')
    """
    ranked = sorted(votes.values(), reverse=True)
    if not ranked or ranked[0] <= 0 or (len(ranked) > 1 and ranked[0] == ranked[1]):
        return NO_AGREEMENT
    return max(votes, key=lambda label: votes[label])


def indices(emotions: Sequence[str | None], labels: Sequence[str]) -> np.ndarray:
    """Return the index of each emotion in ``labels``, -1 where it is missing or not among them.

    Args:
        emotions: one an utterance, None where it is missing
        labels: the label list, in order

    Returns:
        int64, shape ``(n,)``, in [-1, n_labels)

    Examples:
        >>> indices(["fear", "X", None], PRIMARY).tolist()
        [3, -1, -1]
    """
    index_of: dict[str | None, int] = {label: i for i, label in enumerate(labels)}
    return np.array([index_of.get(emotion, -1) for emotion in emotions], dtype=np.int64)
