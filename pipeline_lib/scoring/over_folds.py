"""Mean and deviation over the folds of a cross-validation, beside the pooled scores.

Pooled out-of-fold scores take the predictions of all folds, each by the model that was not trained on its fold, as one
test set: they count every utterance once, and their intervals are over all speakers. The deviation over folds mixes how
different the folds are with how different their models are; it is no interval of the mean (folds share training data:
Bengio and Grandvalet 2004).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_lib.scoring.headline import METRICS
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables import folds
from pipeline_lib.tables.manifest import Manifest


def over_folds(manifest: Manifest, systems: Sequence[System]) -> dict[str, dict[str, Any]]:
    """Return each system's metrics fold by fold, their mean and their deviation.

    Args:
        manifest: with folds; without, nothing is returned
        systems: aligned with the manifest

    Returns:
        system to metric to ``mean``, ``deviation`` (of a sample, n - 1; 0 of one fold) and ``by_fold``, fold to score;
        a fold in which the metric cannot be taken is left out of all three. Of macro-F1 and UA also ``labels_absent``,
        the number of folds that lack a label, where any does
    """
    fold, absent = folds.fold_of(manifest), absent_labels(manifest)
    result: dict[str, dict[str, Any]] = {}
    for system in systems:
        metrics = {}
        for metric in (*METRICS, "wa"):
            scores = {}
            for k in range(folds.count(manifest)):
                rows, names = rows_for(metric, manifest, [system], fold == k)
                if rows.any():
                    scores[folds.name_of(k)] = tally(manifest, system, rows, names).score(metric)
            if scores:
                metrics[metric] = _summary(scores)
                if metric in ("macro_f1", "ua") and (lacking := len({*absent} & {*scores})):
                    metrics[metric]["labels_absent"] = lacking
        if metrics:
            result[system.name] = metrics
    return result


def absent_labels(manifest: Manifest) -> dict[str, list[str]]:
    """Return the folds whose tested utterances lack a label, and the labels.

    Args:
        manifest: with or without folds
    """
    fold, truth = folds.fold_of(manifest), manifest.truth()
    present = {folds.name_of(k): {*truth[fold == k].tolist()} for k in range(folds.count(manifest))}
    absent = {
        name: [label for i, label in enumerate(manifest.labels) if i not in indices]
        for name, indices in present.items()
        if indices & {*range(len(manifest.labels))}
    }
    return {name: labels for name, labels in absent.items() if labels}


def cautions_of_folds(manifest: Manifest) -> list[str]:
    """Return warnings about scores over folds: speakers on both sides, and labels that a fold lacks.

    Args:
        manifest: with or without folds
    """
    warnings = []
    fold = folds.fold_of(manifest)
    known = (fold >= 0) & manifest.frame["speaker"].notna().to_numpy()
    tested = manifest.frame[known].assign(fold=fold[known]).groupby("speaker")["fold"].nunique()
    if (tested > 1).any():
        warnings.append(
            f"folds: {int((tested > 1).sum())} of {len(tested)} speakers are tested in one fold and trained on in"
            " another; it flatters"
        )
    absent = absent_labels(manifest)
    if absent:
        first, labels = next(iter(absent.items()))
        warnings.append(
            f"folds: {len(absent)} of {folds.count(manifest)} folds lack a label ({first}: {', '.join(labels)}); there"
            " it counts 0 in macro_f1 and ua, which lowers the mean over folds, not the pooled score"
        )
    return warnings


def _summary(scores: dict[str, float]) -> dict[str, Any]:
    values = np.array([*scores.values()])
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "deviation": deviation, "by_fold": scores}
