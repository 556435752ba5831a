"""Soft labels: the distribution of an utterance's annotators over the labels, in place of their plurality.

Fayek, Lech and Cavedon, "Modeling subjectiveness in emotion recognition with deep neural networks: ensembles vs soft
labels", IJCNN 2016. Under the cross-entropy each annotator then counts as one example of that utterance, and utterances
without a consensus train too.
"""

import numpy as np

from pipeline_lib.labels import OTHER, indices
from pipeline_lib.tables.manifest import Manifest


def vote_counts(corpus: Manifest, labels: tuple[str, ...]) -> np.ndarray:
    """Return how many annotators chose each label, float64, shape ``(n, n_labels)``; other labels are left out."""
    cast = [votes if isinstance(votes, dict) else {} for votes in corpus.frame["votes"]]
    return np.array([[votes.get(label, 0) for label in labels] for votes in cast], dtype=np.float64)


def soft_labels(corpus: Manifest, *, pseudo_labels: bool) -> tuple[tuple[str, ...], np.ndarray]:
    r"""Return the labels to train on and each utterance's distribution over them.

    .. math:: t_{ik} = \frac{v_{ik}}{\sum_j v_{ij}}

    with :math:`v_{ik}` the votes for trained label k. X is never one of them: it says that the votes do not agree,
    which the distribution says itself. O is one where asked for and voted for in train. An utterance without votes for
    a trained label has its consensus label for certain, or where that is not trained either, no target.

    Args:
        corpus: the manifest
        pseudo_labels: whether O may be a label

    Returns:
        labels, the corpus's first, and float32 of shape ``(n, n_labels)``, rows sum to 1 or are zeros
    """
    if pseudo_labels:
        labels = (*corpus.labels, OTHER)
        shares = _shares(corpus, labels)
        if shares[corpus.mask("train"), -1].any():
            return labels, shares
    return corpus.labels, _shares(corpus, corpus.labels)


def _shares(corpus: Manifest, labels: tuple[str, ...]) -> np.ndarray:
    votes, truth = vote_counts(corpus, labels), indices(corpus.frame["emotion"].tolist(), labels)
    unvoted = np.flatnonzero((votes.sum(axis=1) == 0) & (truth >= 0))
    votes[unvoted, truth[unvoted]] = 1.0
    total = votes.sum(axis=1, keepdims=True)
    return np.divide(votes, total, out=np.zeros_like(votes), where=total > 0).astype(np.float32)
