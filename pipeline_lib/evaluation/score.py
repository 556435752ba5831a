"""Scores of systems on the labels in common, each with an interval over speakers.

Two ways of one posterior: *restricted* to the labels in common and scaled to sum to 1 again, as if the system were
told that no other occurs; and over *all* its labels, where the choice of another one is an error. The first is the
usual one between corpora, and the higher.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.evaluation.labels import Common, restricted, summed
from pipeline_lib.metrics.categories import recall_of
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.chance import chance
from pipeline_lib.scoring.intervals import intervals
from pipeline_lib.scoring.score import f1_by_label
from pipeline_lib.scoring.tallies import PRESENT, category_scores, clusters, tally_categories
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

ALL, RESTRICTED = "all_labels", "restricted"
SHOWN = ("ua", "macro_f1", "wa")


def over_common(manifest: Manifest, of: Common) -> Manifest:
    """Return the corpus with the system's names of the labels in common; other utterances have no label.

    Args:
        manifest: the corpus
        of: the labels in common
    """
    emotions = [of.names.get(emotion) if isinstance(emotion, str) else None for emotion in manifest.frame["emotion"]]
    frame = manifest.frame.assign(emotion=pd.Series(emotions, index=manifest.frame.index, dtype=object))
    return replace(manifest, frame=frame, labels=of.labels)


def scores(
    manifest: Manifest, systems: Mapping[str, Predictions], of: Common, options: IntervalSettings
) -> dict[str, Any]:
    """Return every system's scores both ways, by label, and the confusions, and what chance gives.

    Args:
        manifest: the corpus over the labels in common, see ``over_common``; all of its utterances are scored
        systems: predictions with posteriors by name
        of: the labels in common
        options: of the intervals

    Returns:
        ``chance``; and by system ``n``, ``n_speakers``, ``n_missing`` (utterances that it does not predict),
        ``restricted`` and ``all_labels`` (metrics with ``_lo`` and ``_hi`` where there is an interval), ``labels``
        (recall, precision, F1 with its interval, n) and ``confusion`` (rows are true labels)
    """
    everything = manifest.frame.assign(split="test")
    result: dict[str, Any] = {"chance": chance(replace(manifest, frame=everything), "test"), "systems": {}}
    for name, table in systems.items():
        result["systems"][name] = _one(manifest, table, of, options)
    return result


def _one(manifest: Manifest, table: Predictions, of: Common, options: IntervalSettings) -> dict[str, Any]:
    assert table.posterior is not None
    at = pd.Index(table.utterance_ids).get_indexer(manifest.ids)
    truth = manifest.truth()
    rows = (truth >= 0) & (at >= 0)
    speakers = [name if isinstance(name, str) else None for name in manifest.frame["speaker"][rows]]
    result: dict[str, Any] = {
        "n": int(rows.sum()),
        "n_speakers": len({*speakers} - {None}),
        "n_missing": int(((truth >= 0) & (at < 0)).sum()),
    }
    if not rows.any():
        return result
    posterior, common = table.posterior[at[rows]], len(of.labels)
    every, labels = summed(posterior, table.labels, of)
    chosen = {RESTRICTED: restricted(posterior, table.labels, of).argmax(axis=1), ALL: every.argmax(axis=1)}
    for way, prediction in chosen.items():
        size = common if way == RESTRICTED else len(labels)
        tally = tally_categories(truth[rows], prediction, clusters(speakers), size)
        cells = tally.sums.sum(axis=0)
        metrics = category_scores(cells, common)
        shown = {name: metrics[name] for name in (*SHOWN, *(each + PRESENT for each in SHOWN)) if name in metrics}
        result[way] = intervals(replace(tally, scores=shown), options)
        if len(present := {*truth[rows].tolist()}) < common:
            result[way]["labels_present"] = [len(present), common]
        if way == RESTRICTED:
            result["confusion"] = cells.astype(int).tolist()
            result["labels"] = _by_label(cells, of.labels, f1_by_label(tally, of.labels, options))
        else:
            result["others_chosen"] = float((prediction >= common).mean())
    return result


def _by_label(
    cells: np.ndarray, labels: tuple[str, ...], scored: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return each label's scores with recall and precision; of one that is never true, or never chosen, these are 0."""
    recall, precision = recall_of(cells), recall_of(cells.T)
    return {
        label: {**scored[label], "recall": float(recall[k]), "precision": float(precision[k])}
        for k, label in enumerate(labels)
    }
