"""Intervals of scores by resampling speakers.

Utterances of one speaker are alike, so speakers are drawn with replacement, each with all of its utterances (cluster
bootstrap, percentile interval). Scores are functions of sums over utterances (confusion counts, moments): the sums are
taken once a speaker, and a resample is the number of draws of each speaker, times these sums.

An utterance without a known speaker is a cluster of its own, which makes the interval narrower than it should be if
speakers do recur. So does a small number of speakers: with fewer than about ten the percentile interval is too narrow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_lib.metrics.attributes import concordance_of, moments
from pipeline_lib.metrics.categories import accuracy_of, macro_f1_of, unweighted_accuracy_of, weighted_f1_of

_CELLS_AT_ONCE = 2**22  # draws x clusters held at a time; part of the result's definition, as the seed is

CATEGORY_METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "macro_f1": macro_f1_of,
    "ua": unweighted_accuracy_of,
    "wa": accuracy_of,
    "weighted_f1": weighted_f1_of,
}


@dataclass(frozen=True)
class Tally:
    """Sufficient statistics by cluster, and the scores that are functions of their sum.

    Attributes:
        sums: float64, shape ``(n_clusters, ...)``
        scores: name of a metric to its function, ``(..., *sums.shape[1:]) -> (...)``
    """

    sums: np.ndarray
    scores: dict[str, Callable[[np.ndarray], np.ndarray]]

    def score(self, name: str) -> float:
        """Return the metric over all utterances."""
        return float(self.scores[name](self.sums.sum(axis=0)))


def clusters(speakers: Sequence[str | None]) -> np.ndarray:
    """Return the cluster of each utterance: its speaker, or itself where the speaker is unknown or the only one.

    Args:
        speakers: of the utterances, length n, None where unknown

    Returns:
        int64 in [0, n_clusters), shape ``(n,)``, numbered as they first appear
    """
    alone = len({speaker for speaker in speakers if speaker is not None}) == 1 and None not in speakers
    seen: dict[object, int] = {}
    names = [(i,) if alone or speaker is None else speaker for i, speaker in enumerate(speakers)]
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)


def tally_categories(truth: np.ndarray, prediction: np.ndarray, cluster: np.ndarray, n_labels: int) -> Tally:
    """Return the clusters' confusion counts, shape ``(n_clusters, n_labels, n_labels)``, and the scores of categories.

    Args:
        truth: label indices, shape ``(n,)``
        prediction: label indices, shape ``(n,)``
        cluster: see ``clusters``, shape ``(n,)``
        n_labels: length of the full label list
    """
    cell = (cluster * n_labels + truth) * n_labels + prediction
    n_clusters = int(cluster.max()) + 1
    counts = np.bincount(cell, minlength=n_clusters * n_labels**2)
    return Tally(counts.reshape(n_clusters, n_labels, n_labels).astype(np.float64), CATEGORY_METRICS)


def tally_attributes(truth: np.ndarray, prediction: np.ndarray, cluster: np.ndarray, names: Sequence[str]) -> Tally:
    """Return the clusters' moments, shape ``(n_clusters, n_names, 6)``, and the concordances with their mean.

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
    return Tally(sums, {**scores, "ccc_mean": lambda moments: concordance_of(moments).mean(axis=-1)})


def resampled(sums: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return the sums over ``n_clusters`` clusters drawn with replacement, once for each sample.

    The same seed, number of samples and number of clusters give the same draws: two systems over the same clusters are
    resampled in pairs.

    Args:
        sums: shape ``(n_clusters, ...)``
        samples: number of resamples
        seed: of the draws

    Returns:
        shape ``(samples, ...)``
    """
    n_clusters, flat = len(sums), sums.reshape(len(sums), -1)
    generator = np.random.default_rng([seed, n_clusters])
    parts = []
    for n in _portions(samples, n_clusters):
        drawn = generator.integers(0, n_clusters, (n, n_clusters))
        cell = drawn + n_clusters * np.arange(n)[:, None]
        times = np.bincount(cell.ravel(), minlength=n * n_clusters).reshape(n, n_clusters)
        parts.append(times.astype(np.float64) @ flat)
    return np.concatenate(parts).reshape(samples, *sums.shape[1:])


def interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the bounds of the central ``confidence`` share of the values (percentile interval).

    Args:
        values: shape ``(samples,)``
        confidence: in (0, 1)

    Returns:
        lower and upper bound, scalars in the unit of the values
    """
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def intervals(tally: Tally, samples: int, seed: int, confidence: float) -> dict[str, float]:
    """Return every metric of the tally with its bounds, ``<metric>_lo`` and ``<metric>_hi``.

    Args:
        tally: of one system
        samples: number of resamples
        seed: of the draws
        confidence: in (0, 1), of the interval
    """
    drawn = resampled(tally.sums, samples, seed)
    scores = {}
    for name, score in tally.scores.items():
        scores[name] = tally.score(name)
        scores[f"{name}_lo"], scores[f"{name}_hi"] = interval(score(drawn), confidence)
    return scores


def _concordance_at(attribute: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda moments: concordance_of(moments[..., attribute, :])


def _portions(total: int, width: int) -> Iterator[int]:
    """Yield parts of ``total`` such that part times ``width`` fits in memory."""
    size = max(1, _CELLS_AT_ONCE // width)
    for start in range(0, total, size):
        yield min(size, total - start)
