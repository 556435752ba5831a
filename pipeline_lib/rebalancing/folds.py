"""An entry fitted on the corpus's split, or once a fold of it: its models, and its table of every utterance.

A fold is fitted as a single split is, on its view of the manifest (``tables.folds.view``), so that its model and table
are those of an entry without folds on that split. An expert has a table of predictions a fold, which its model of that
fold wrote; a stored embedding learned nothing of the corpus and is the same for all, read once. Every fold reads the
one table of another system's probabilities, which is taken as out of fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.posteriors import POSTERIORS
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import model, source
from pipeline_lib.rebalancing.model import Model
from pipeline_lib.rebalancing.rebalance import DEVELOPMENT, fit
from pipeline_lib.rebalancing.source import Source
from pipeline_lib.storage import atomic
from pipeline_lib.tables import folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

NONE = "none.txt"  # in the folder of the folds' tables of an entry without folds


@dataclass(frozen=True)
class Part:
    """An entry fitted on one split: the corpus's own, or that of a fold.

    Attributes:
        manifest: the corpus with this split
        source: what was read
        model: fitted
        table: of every utterance of the source
    """

    manifest: Manifest
    source: Source
    model: Model
    table: Predictions


def fit_parts(settings: RebalancingSettings, manifest: Manifest, name: str) -> list[Part]:
    """Return the entry fitted on each fold, or on the one split of an entry without folds.

    Args:
        settings: of the entry
        manifest: the corpus, with folds where the entry has them
        name: of the entry

    Raises:
        InputError: the corpus has no folds, a fold's table is missing, or see ``rebalance.fit``
    """
    if not settings.folds:
        return [_part(source.read(settings, manifest, name), manifest, settings, name)]
    number = folds.required(manifest, f"rebalancing.{name}.folds is true")
    of_all, is_given = None, settings.reads.source.startswith(POSTERIORS)
    if settings.source is not None:
        of_all = source.read(settings, manifest, name)
    elif not is_given and not Path(settings.reads.source).is_dir():
        raise InputError(
            f"rebalancing.{name}.folds is true, and its reads.source {settings.reads.source!r} is not a folder with a"
            " table a fold: expected data/predictions_folds/<expert>, of an expert whose folds is true"
        )
    parts = []
    for fold in range(number):
        print(f"rebalancing.{name}: {folds.name_of(fold)} of {number}")
        single, view = of_fold(settings, fold), folds.view(manifest, fold)
        read = source.read(single, view, name) if of_all is None else of_all
        parts.append(_part(read, view, single, name))
    return parts


def of_fold(settings: RebalancingSettings, fold: int) -> RebalancingSettings:
    """Return the settings of one fold: those of an entry without folds, which reads that fold's table, or the only one.

    Args:
        settings: of an entry with folds
        fold: number from 0
    """
    reads = settings.reads
    if settings.source is None and not reads.source.startswith(POSTERIORS):
        reads = reads.model_copy(update={"source": f"{reads.source}/{folds.name_of(fold)}.parquet"})
    return settings.model_copy(update={"folds": False, "reads": reads})


def write_parts(
    parts: Sequence[Part], settings: RebalancingSettings, manifest: Manifest, learned: Path, table: Path, tables: Path
) -> None:
    """Write the models, the table of every utterance and the folds' own tables, each in place of an earlier one.

    Args:
        parts: of ``fit_parts``
        settings: of the entry
        manifest: the corpus
        learned: models/rebalancing/<entry>; with folds it has a folder a fold
        table: data/rebalanced/<entry>.parquet; with folds each utterance is out of fold
        tables: data/rebalanced_folds/<entry>, with a table a fold, or a text that there are none
    """
    if not settings.folds:
        predictions.write(table, parts[0].table)
        model.write(learned, parts[0].model)
        with atomic.replace_folder(tables) as temporary:
            (temporary / NONE).write_text(f"folds is false: {table.as_posix()} is the only table\n")
        return
    predictions.write(table, folds.out_of_fold(manifest, [part.table for part in parts]))
    with atomic.replace_folder(learned) as temporary:
        for fold, part in enumerate(parts):
            model.write(temporary / folds.name_of(fold), part.model)
    with atomic.replace_folder(tables) as temporary:
        for fold, part in enumerate(parts):
            predictions.write(temporary / f"{folds.name_of(fold)}.parquet", part.table)


def summary(parts: Sequence[Part], settings: RebalancingSettings) -> dict[str, Any]:
    """Return metrics of the fit: the temperature, with folds the mean; with folds also scores on their dev, and lists.

    Args:
        parts: of ``fit_parts``
        settings: of the entry

    Returns:
        ``temperature`` where there is one; with folds ``on_dev``, the mean of macro-F1 and UA, and ``folds``: of each
        fold these scores, the temperature, and the layer where one was chosen
    """
    temperatures = [part.model.temperature for part in parts if part.model.temperature is not None]
    result: dict[str, Any] = {"temperature": float(np.mean(temperatures))} if temperatures else {}
    if not settings.folds:
        return result
    of_each: dict[str, list[Any]] = {"temperature": temperatures} if temperatures else {}
    scores = [_on_dev(part) for part in parts]
    if all(scores):
        of_each |= {metric: [each[metric] for each in scores] for metric in scores[0]}
        result["on_dev"] = {metric: float(np.mean(of_each[metric])) for metric in scores[0]}
    if parts[0].model.on_dev:
        of_each["layer"] = [layer for part in parts for together in part.model.back_ends for layer in together]
    return result | {"folds": of_each}


def _part(read: Source, manifest: Manifest, settings: RebalancingSettings, name: str) -> Part:
    fitted = fit(read, manifest, settings, name)
    return Part(manifest, read, fitted, model.apply(fitted, read))


def _on_dev(part: Part) -> dict[str, float]:
    """Return macro-F1 and UA on the labelled utterances of dev; nothing where there are none, or it was fitted on."""
    if part.model.settings.refit:  # fitted on dev: no score of what is held out
        return {}
    rows, posterior = part.source.rows(part.manifest), part.table.posterior
    truth = part.manifest.truth()[rows]
    dev = part.manifest.mask(DEVELOPMENT)[rows] & (truth >= 0)
    if posterior is None or not dev.any():
        return {}
    given = truth[dev], posterior[dev].argmax(axis=1), len(part.manifest.labels)
    return {"macro_f1": macro_f1(*given), "ua": unweighted_accuracy(*given)}
