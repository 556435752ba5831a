"""Fusion fold by fold: each fold's weights are fitted on its own development part, and fuse what it tests.

A fold is fused as a single split is, on its view of the manifest (``tables.folds.view``): its experts are the tables
that the fold's models wrote, so that neither the experts nor their weights were fitted on an utterance that is scored.
The fused table is out of fold, and there is no other cross-fitted one.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.fusion import model
from pipeline_lib.fusion.fuse import Fusion, fuse
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.storage import atomic
from pipeline_lib.tables import folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions


def fuse_folds(tables: Path, manifest: Manifest, settings: FusionSettings) -> tuple[list[Fusion], Predictions]:
    """Return the fusion of each fold, and every utterance fused out of fold.

    Args:
        tables: data/rebalanced_folds, with a folder an expert and in it a table a fold
        manifest: the corpus, with folds
        settings: ``tuning`` is a set of each fold: dev, dev_filt or dev_bal

    Raises:
        InputError: the corpus has no folds, an expert has no table of one, or see ``fuse.fuse``
    """
    number = folds.required(manifest, "fusion.folds is true")
    fusions = []
    for fold in range(number):
        name = folds.name_of(fold)
        experts = [_table(tables / expert, name, expert) for expert in settings.experts]
        print(f"fusion: {name} of {number}")
        fusions.append(fuse(experts, folds.view(manifest, fold), settings))
    return fusions, folds.out_of_fold(manifest, [fusion.fused for fusion in fusions])


def write(folder: Path, fusions: Sequence[Fusion], settings: FusionSettings) -> None:
    """Write the folder atomically, with a fusion a fold in it, in place of an earlier one.

    Args:
        folder: models/fusion
        fusions: in the order of the folds
        settings: the options they were fitted with
    """
    with atomic.replace_folder(folder) as temporary:
        for fold, fusion in enumerate(fusions):
            model.write(temporary / folds.name_of(fold), fusion, settings)


def _table(folder: Path, name: str, expert: str) -> Predictions:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise InputError(
            f"{path} does not exist, and fusion.folds is true: expected a table a fold of expert {expert!r}, which"
            f" rebalancing writes with rebalancing.{expert}.folds: true"
        )
    return predictions.read(path)
