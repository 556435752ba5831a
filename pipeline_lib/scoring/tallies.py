"""Sums by speaker from which scores and their intervals follow.

Utterances of one speaker are alike, so the unit of every interval and test is the speaker. Scores are functions of sums
over utterances (confusion counts, moments): the sums are taken once a speaker, and a score without a speaker, or of
speakers that were drawn, is the score of a sum of these.

Utterances without a known speaker count as one further speaker. Each by itself they would make intervals too narrow;
together they have the variance that their unknown speakers would have on average, at the price of few degrees of
freedom.

*Labels.* The labels of the whole split count in every such sum. Where a label has no utterance left, nothing is known
of it there, and it keeps the F1 or recall that it has in the whole split: it would be 0 otherwise, and a system without
an error would have an interval below 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_lib.metrics.arrays import ratio
from pipeline_lib.metrics.attributes import concordance_of, moments
from pipeline_lib.metrics.calibration import binned
from pipeline_lib.metrics.categories import accuracy_of, f1_of, recall_of, weighted_f1_of

CATEGORY_METRICS = ("macro_f1", "ua", "wa", "weighted_f1")
PRESENT = "_present"  # ends the names of means over the labels that the split has
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Tally:
    """Sufficient statistics by speaker, and the scores that are functions of their sum.

    Attributes:
        sums: float64, shape ``(n_speakers, ...)``
        scores: name of a metric to its function, ``(..., *sums.shape[1:]) -> (...)``
        sizes: utterances (or words) of each speaker, float64, shape ``(n_speakers,)``
        span: least and greatest value that the metrics can have
    """

    sums: np.ndarray
    scores: dict[str, Score]
    sizes: np.ndarray
    span: tuple[float, float] = (0.0, 1.0)

    def score(self, name: str) -> float:
        """Return the metric over all utterances."""
        return float(self.scores[name](self.sums.sum(axis=0)))


def clusters(speakers: Sequence[str | None]) -> np.ndarray:
    """Return each utterance's speaker as a number; those without a known speaker share one.

    Args:
        speakers: of the utterances, length n, None where unknown

    Returns:
        int64 in [0, n_speakers), shape ``(n,)``, numbered as they first appear
    """
    seen: dict[str | None, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in speakers], dtype=np.int64)


def tally_categories(truth: np.ndarray, prediction: np.ndarray, cluster: np.ndarray, n_labels: int) -> Tally:
    """Return the speakers' confusion counts, shape ``(n_speakers, n_labels, n_labels)``, and the scores of categories.

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        cluster: see ``clusters``, shape ``(n,)``
        n_labels: length of the full label list
    """
    cell = (cluster * n_labels + truth) * n_labels + prediction
    n_clusters = int(cluster.max()) + 1
    counts = np.bincount(cell, minlength=n_clusters * n_labels**2)
    sums = counts.reshape(n_clusters, n_labels, n_labels).astype(np.float64)
    return Tally(sums, category_scores(sums.sum(axis=0)), sums.sum(axis=(1, 2)))


def category_scores(whole: np.ndarray, counted: int | None = None) -> dict[str, Score]:
    """Return the scores of categories as functions of confusion counts, shape ``(..., n_labels, n_labels)``.

    Where the split lacks a label, ``macro_f1_present`` and ``ua_present`` are the means over the labels that it has.

    Args:
        whole: confusion counts of the whole split, shape ``(..., n_labels, n_labels)``: its labels count, see the
            module
        counted: the first labels that macro-F1 and UA are means over, None for all
    """
    f1, recall = by_label(f1_of, whole), by_label(recall_of, whole)
    scores: dict[str, Score] = {
        "macro_f1": lambda cells: f1(cells)[..., :counted].mean(axis=-1),
        "ua": lambda cells: recall(cells)[..., :counted].mean(axis=-1),
        "wa": accuracy_of,
        "weighted_f1": weighted_f1_of,
    }
    present = np.flatnonzero(whole.sum(axis=-1).reshape(-1, whole.shape[-1]).any(axis=0)[:counted])
    if 0 < len(present) < (counted or whole.shape[-1]):
        scores["macro_f1" + PRESENT] = lambda cells: f1(cells)[..., present].mean(axis=-1)
        scores["ua" + PRESENT] = lambda cells: recall(cells)[..., present].mean(axis=-1)
    return scores


def by_label(score: Score, whole: np.ndarray) -> Score:
    """Return a score of each label in which a label without an utterance keeps its score in the whole split.

    Args:
        score: of confusion counts, ``(..., n_labels, n_labels) -> (..., n_labels)``
        whole: confusion counts of the whole split, shape ``(..., n_labels, n_labels)``
    """
    true, own = whole.sum(axis=-1), score(whole)
    return lambda cells: np.where((cells.sum(axis=-1) == 0) & (true > 0), own, score(cells))


def tally_attributes(truth: np.ndarray, prediction: np.ndarray, cluster: np.ndarray, names: Sequence[str]) -> Tally:
    """Return the speakers' moments, shape ``(n_speakers, n_names, 6)``, and the concordances with their mean.

    Args:
        truth: shape ``(n, n_names)``, NaN where an attribute is missing; the utterance counts for the others
        prediction: shape ``(n, n_names)``
        cluster: see ``clusters``, shape ``(n,)``
        names: the attributes' names
    """
    sums = np.zeros((int(cluster.max()) + 1, len(names), 6))
    for i in range(len(names)):
        known = np.isfinite(truth[:, i])
        rows = moments(truth[known, i], prediction[known, i], float(np.median(truth[known, i])))
        np.add.at(sums[:, i], cluster[known], rows)
    scores = {f"ccc_{name}": _concordance_at(i) for i, name in enumerate(names)}
    scores["ccc_mean"] = lambda moments: concordance_of(moments).mean(axis=-1)
    return Tally(sums, scores, sums[..., 0].max(axis=1), (-1.0, 1.0))


def tally_calibration(posterior: np.ndarray, truth: np.ndarray, cluster: np.ndarray, bins: int) -> Tally:
    """Return count, summed confidence and hits of each speaker's bins, shape ``(n_speakers, bins, 3)``, and the ECE.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        truth: label indices, shape ``(n,)``
        cluster: see ``clusters``, shape ``(n,)``
        bins: number of bins, at least 1
    """
    index, confidence, right = binned(posterior, truth, bins)
    n_clusters, cell = int(cluster.max()) + 1, cluster * bins + index
    columns = [np.bincount(cell, weights, n_clusters * bins) for weights in (None, confidence, right)]
    sums = np.stack(columns, axis=-1).reshape(n_clusters, bins, 3).astype(np.float64)
    return Tally(sums, {"ece": _calibration_error}, sums[..., 0].sum(axis=1))


def _calibration_error(sums: np.ndarray) -> np.ndarray:
    return ratio(np.abs(sums[..., 2] - sums[..., 1]).sum(axis=-1), sums[..., 0].sum(axis=-1))


def _concordance_at(attribute: int) -> Score:
    return lambda moments: concordance_of(moments[..., attribute, :])
