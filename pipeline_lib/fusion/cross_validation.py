"""Fusion once a fold of the corpus: fitted on each fold's tuning set, every utterance fused out of fold.

Not to be confused with ``folds``, which divides one tuning set by speaker for cross-fitting. Out of fold nothing was
fitted on an utterance's own fold, so that there is no cross-fitting beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.fusion import model
from pipeline_lib.fusion.fuse import Fusion, fuse
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.storage import atomic
from pipeline_lib.tables import folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions


def of_fold(settings: FusionSettings) -> FusionSettings:
    """Return the settings of one fold: those of a fusion without folds.

    Args:
        settings: of a fusion with folds
    """
    return settings.model_copy(update={"folds": False})


def fuse_folds(tables: Path, manifest: Manifest, settings: FusionSettings) -> tuple[list[Fusion], Predictions]:
    """Return the fusion of each fold, and the table of every utterance, out of fold.

    Args:
        tables: data/rebalanced_folds, with a folder an expert and a table a fold
        manifest: the corpus, with folds
        settings: which fuser, and its options

    Raises:
        InputError: the corpus has no folds, a table is missing, or see ``fuse.fuse``
    """
    fusions = []
    for fold in range(folds.required(manifest, "fusion.folds is true")):
        name = folds.name_of(fold)
        experts = [predictions.read(tables / expert / f"{name}.parquet") for expert in settings.experts]
        fusions.append(fuse(experts, folds.view(manifest, fold), of_fold(settings), crossfit=False))
    return fusions, folds.out_of_fold(manifest, [fusion.fused for fusion in fusions])


def write_models(folder: Path, fusions: Sequence[Fusion], settings: FusionSettings) -> None:
    """Write the folds' models, each as a fusion without folds is written, in place of an earlier folder.

    Args:
        folder: models/fusion
        fusions: one a fold
        settings: of the fusion with folds
    """
    with atomic.replace_folder(folder) as temporary:
        for fold, fusion in enumerate(fusions):
            model.write(temporary / folds.name_of(fold), fusion, of_fold(settings))
