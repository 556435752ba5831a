"""Scores of one level beside those of the clean copies, with paired intervals over speakers.

A level is compared with clean on the utterances that a system predicts under both; each resample draws the same
speakers for both (``scoring.permutation``). The system is the one that was trained: nothing is fitted or chosen here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline_lib.metrics.words import word_errors
from pipeline_lib.params.scoring import BootstrapSettings
from pipeline_lib.scoring.bootstrap import Tally, clusters, interval, resampled
from pipeline_lib.scoring.permutation import difference, difference_interval
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest

METRICS = {
    "ua": "UA",
    "macro_f1": "macro-F1",
    "ccc_arousal": "CCC arousal",
    "ccc_valence": "CCC valence",
    "ccc_dominance": "CCC dominance",
    "ccc_mean": "CCC mean",
}


def system_scores(manifest: Manifest, system: System, clean: System, options: BootstrapSettings) -> dict[str, Any]:
    """Return a system's scores at one level: each metric with ``_lo``, ``_hi``, and ``_less_clean`` with its bounds.

    Args:
        manifest: the altered utterances
        system: its predictions at the level
        clean: its predictions of the clean copies
        options: of the intervals

    Returns:
        also ``n`` and ``n_attributes``, the utterances that count; a metric that cannot be taken is left out
    """
    values: dict[str, Any] = {}
    inside = np.ones(len(manifest), dtype=bool)
    for metric in METRICS:
        rows, names = rows_for(metric, manifest, (system, clean), inside)
        if rows.any():
            values["n_attributes" if names else "n"] = int(rows.sum())
            one, other = (tally(manifest, side, rows, names) for side in (system, clean))
            values |= _compared(one, other, metric, options)
    return values


def word_error_scores(
    manifest: Manifest, texts: Mapping[str, str], clean: Mapping[str, str], options: BootstrapSettings
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
    return Tally(sums, {"wer": lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1)})


def _compared(one: Tally, clean: Tally, metric: str, options: BootstrapSettings) -> dict[str, float]:
    """Return the metric and its difference to clean, each with its bounds."""
    settings = options.model_dump()
    drawn = one.scores[metric](resampled(one.sums, options.samples, options.seed))
    low, high = interval(drawn, options.confidence)
    below, above = difference_interval(one, clean, metric, **settings)
    return {
        metric: one.score(metric),
        f"{metric}_lo": low,
        f"{metric}_hi": high,
        f"{metric}_less_clean": difference(one, clean, metric),
        f"{metric}_less_clean_lo": below,
        f"{metric}_less_clean_hi": above,
    }
