"""What a system without any knowledge scores on a split, and what the best possible one does.

Every label of the manifest counts in macro-F1 and UA, also one that the split lacks (see ``metrics/categories.py``): of
K labels of which k are absent, no system exceeds (K - k) / K, and guessing has a UA of (K - k) / K².
"""

from typing import Any

import numpy as np

from pipeline_lib.metrics.categories import accuracy_of, macro_f1_of, unweighted_accuracy_of
from pipeline_lib.tables.manifest import Manifest


def chance(manifest: Manifest, split: str) -> dict[str, Any]:
    """Return the scores of guessing each label alike often, of always saying the most frequent label, and the ceiling.

    A uniform guess is scored by its expected confusion counts: the share 1/K of each label's utterances in each column.

    Args:
        manifest: the corpus
        split: a split or subset

    Returns:
        ``counts`` by label, ``uniform`` and ``majority`` (each ``ua``, ``macro_f1``, ``wa``, ∈ [0, 1]), ``ceiling`` of
        UA and macro-F1; empty where no utterance has a scored label
    """
    truth = manifest.truth()[manifest.mask(split)]
    n_labels = len(manifest.labels)
    counts = np.bincount(truth[truth >= 0], minlength=n_labels).astype(np.float64)
    if not counts.any():
        return {}
    majority = np.zeros((n_labels, n_labels))
    majority[:, int(counts.argmax())] = counts
    return {
        "counts": {label: int(count) for label, count in zip(manifest.labels, counts, strict=True)},
        "uniform": _scores(np.repeat(counts[:, None] / n_labels, n_labels, axis=1)),
        "majority": _scores(majority),
        "ceiling": float(unweighted_accuracy_of(np.diag(counts))),
    }


def _scores(cells: np.ndarray) -> dict[str, float]:
    metrics = {"ua": unweighted_accuracy_of, "macro_f1": macro_f1_of, "wa": accuracy_of}
    return {name: float(metric(cells)) for name, metric in metrics.items()}
