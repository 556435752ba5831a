"""Scores of one level beside those of the clean copies, with paired intervals over speakers.

A level is compared with clean on the utterances that a system predicts under both; each speaker is left out, or drawn,
for both (``scoring.intervals``). The system is the one that was trained: nothing is fitted or chosen here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline_lib.metrics.words import word_errors
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.intervals import bounds, difference_bounds, named
from pipeline_lib.scoring.permutation import difference
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.systems import System
from pipeline_lib.scoring.tallies import PRESENT, Tally, clusters
from pipeline_lib.tables.manifest import Manifest

METRICS = {
    "ua": "UA",
    "macro_f1": "macro-F1",
    "ccc_arousal": "CCC arousal",
    "ccc_valence": "CCC valence",
    "ccc_dominance": "CCC dominance",
    "ccc_mean": "CCC mean",
}


def system_scores(manifest: Manifest, system: System, clean: System, options: IntervalSettings) -> dict[str, Any]:
    """Return a system's scores at one level: each metric, and its ``_less_clean``, with bounds.

    Args:
        manifest: the altered utterances
        system: its predictions at the level
        clean: its predictions of the clean copies
        options: of the intervals

    Returns:
        bounds are ``_lo`` and ``_hi``, where there are speakers enough; also ``n`` and ``n_attributes``, the utterances
        that count, and of a split that lacks labels ``labels_present`` and the metrics over these; a metric that cannot
        be taken is left out
    """
    values: dict[str, Any] = {}
    inside = np.ones(len(manifest), dtype=bool)
    for metric in METRICS:
        rows, names = rows_for(metric, manifest, (system, clean), inside)
        if rows.any():
            values["n_attributes" if names else "n"] = int(rows.sum())
            one, other = (tally(manifest, side, rows, names) for side in (system, clean))
            values |= _compared(one, other, metric, options)
            if metric + PRESENT in one.scores:
                values |= named(metric + PRESENT, one.score(metric + PRESENT), bounds(one, metric + PRESENT, options))
                values["labels_present"] = [len({*manifest.truth()[rows].tolist()}), len(manifest.labels)]
    return values


def word_error_scores(
    manifest: Manifest, texts: Mapping[str, str], clean: Mapping[str, str], options: IntervalSettings
) -> dict[str, Any]:
    """Return the word error rate at one level, as ``system_scores`` returns a metric; empty without a reference.

    Args:
        manifest: the altered utterances, with ``reference_text``
        texts: transcripts at the level, by utterance
        clean: transcripts of the clean copies, by utterance
        options: of the intervals
    """
    references = dict(zip(manifest.ids, manifest.frame["reference_text"], strict=True))
    ids = [name for name, text in references.items() if isinstance(text, str) and name in texts and name in clean]
    speakers = dict(zip(manifest.ids, manifest.frame["speaker"], strict=True))
    if not any(word_errors(references[name], "")[1] for name in ids):
        return {}
    known = [speaker if isinstance(speaker := speakers[name], str) else None for name in ids]
    spoken = [references[name] for name in ids]
    one, other = (_tally_words(spoken, [side[name] for name in ids], known) for side in (texts, clean))
    return {"n": len(ids), **_compared(one, other, "wer", options)}


def _tally_words(references: Sequence[str], texts: Sequence[str], speakers: Sequence[str | None]) -> Tally:
    """Return errors and units by speaker, shape ``(n_clusters, 2)``, and the word error rate."""
    cluster = clusters(speakers)
    sums = np.zeros((int(cluster.max()) + 1, 2))
    np.add.at(sums, cluster, [word_errors(*pair) for pair in zip(references, texts, strict=True)])
    scores = {"wer": lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1)}
    return Tally(sums, scores, sums[:, 1], (0.0, np.inf))


def _compared(one: Tally, clean: Tally, metric: str, options: IntervalSettings) -> dict[str, float]:
    """Return the metric and its difference to clean, each with its bounds."""
    own = named(metric, one.score(metric), bounds(one, metric, options))
    between = difference_bounds(one, clean, metric, options)
    return own | named(f"{metric}_less_clean", difference(one, clean, metric), between)
