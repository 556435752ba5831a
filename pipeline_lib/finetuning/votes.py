"""Soft labels: the distribution of an utterance's annotators over the labels, in place of their plurality.

Fayek, Lech and Cavedon, "Modeling subjectiveness in emotion recognition with deep neural networks: ensembles vs soft
labels", IJCNN 2016. Under the cross-entropy each annotator then counts as one example of that utterance, and utterances
without a consensus train too.
"""

import numpy as np

from pipeline_lib.labels import OTHER
from pipeline_lib.tables.truth import Labels


def vote_counts(read: Labels, labels: tuple[str, ...]) -> np.ndarray:
    """Return how many annotators chose each label; votes for other labels are left out.

    Args:
        read: labels of the corpus, with the column ``votes``
        labels: to count

    Returns:
        float64, shape ``(n, n_labels)``
    """
    cast = [votes if isinstance(votes, dict) else {} for votes in read.votes()]
    return np.array([[votes.get(label, 0) for label in labels] for votes in cast], dtype=np.float64)


def trained_votes(read: Labels, *, pseudo_labels: bool) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the labels to train on and each utterance's votes for them.

    X is never one of them: it means that the votes do not agree, which they show themselves. O is one where it is
    requested and voted for in train. An utterance without votes for a trained label has one for its consensus label, or
    where that is not trained either, none.

    Args:
        read: labels of train and dev
        pseudo_labels: whether O may be a label

    Returns:
        labels, the corpus's first, and counts, float64, shape ``(n, n_labels)``
    """
    corpus = read.manifest
    if pseudo_labels:
        labels = (*corpus.labels, OTHER)
        votes = _with_consensus(read, labels)
        if votes[corpus.mask("train"), -1].any():
            return labels, votes
    return corpus.labels, _with_consensus(read, corpus.labels)


def shares(votes: np.ndarray) -> np.ndarray:
    r"""Return each utterance's distribution over the labels.

    .. math:: t_{ik} = \frac{v_{ik}}{\sum_j v_{ij}}

    Args:
        votes: :math:`v_{ik}`, for trained label k, shape ``(n, n_labels)``

    Returns:
        float32, shape ``(n, n_labels)``, rows sum to 1 or are zeros
    """
    total = votes.sum(axis=1, keepdims=True)
    return np.divide(votes, total, out=np.zeros_like(votes), where=total > 0).astype(np.float32)


def some_annotators(votes: np.ndarray, dropout: float, rng: np.random.Generator) -> np.ndarray:
    r"""Return an utterance's votes without those of annotators that are left out, each by itself with the same chance.

    Counts are enough, whoever cast them: of :math:`v_k` annotators :math:`B(v_k, 1 - p)` remain. One always remains,
    drawn among all of them where none would. No annotator is likelier to remain than another, so that the mean of the
    distributions is that of all annotators.

    Args:
        votes: whole numbers, shape ``(n_labels,)``
        dropout: p, in [0, 1)
        rng: draws who remains

    Returns:
        counts, float64, shape ``(n_labels,)``; zeros where there are no votes
    """
    if not votes.any():
        return votes
    left = rng.binomial(votes.astype(np.int64), 1 - dropout).astype(np.float64)
    if not left.any():
        left[rng.choice(len(votes), p=votes / votes.sum())] = 1.0
    return left


def _with_consensus(read: Labels, labels: tuple[str, ...]) -> np.ndarray:
    votes, truth = vote_counts(read, labels), read.classes(labels)
    unvoted = np.flatnonzero((votes.sum(axis=1) == 0) & (truth >= 0))
    votes[unvoted, truth[unvoted]] = 1.0
    return votes
