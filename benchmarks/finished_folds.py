"""Scores of the folds that an expert has finished, while others are still to be trained, beside other entries there.

    python -m benchmarks.finished_folds EXPERT [--beside layers ...]

Run it in a project whose ``dvc repro`` was stopped, or goes on, in the training of EXPERT. Of each fold whose outputs
are whole it fits every entry of ``rebalancing`` in params.yaml that reads the expert's predictions, and every entry
that ``--beside`` names, on that fold alone; the stages do the same once all folds are trained. Printed are UA on the
fold's test speakers and their mean; and UA on the development speakers, which is none of an entry that is refitted on
them.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline_lib.command import run
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.fold_outputs import OUTPUTS, RECORD
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.params.base import PARAMS, read_value
from pipeline_lib.params.rebalancing import EMBEDDINGS, PREDICTIONS_FOLDS, RebalancingSettings
from pipeline_lib.rebalancing import model, source
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.tables import folds, manifest
from pipeline_lib.tables.manifest import Manifest


def main(
    expert: str,
    beside: Annotated[list[str] | None, typer.Option(help="further entries of rebalancing, on embeddings")] = None,
    params: Path = PARAMS,
    manifest_path: Path = Path("data/manifest.parquet"),
    work: Path = Path("work/finetuning"),
) -> None:
    """Print UA by entry and finished fold."""
    corpus = manifest.read(manifest_path)
    tables = finished(work / expert, folds.required(corpus, "benchmarks.finished_folds"))
    if not tables:
        raise InputError(f"{work / expert} has no finished fold; expected one at least: train on")
    for name in read_value("rebalancing", params):
        entry = RebalancingSettings.read(f"rebalancing.{name}", params)
        reads_expert = entry.reads.source == f"{PREDICTIONS_FOLDS}{expert}"
        if not reads_expert and name not in (beside or []):
            continue
        if not reads_expert and not entry.reads.source.startswith(EMBEDDINGS):
            raise InputError(f"--beside {name}: it reads {entry.reads.source}, expected an entry on an embedding")
        scores = {fold: scored(entry, corpus, name, fold, table, reads_expert) for fold, table in tables.items()}
        print(f"{name}: {line(scores, entry.refit)}")


def finished(folder: Path, count: int) -> dict[int, Path]:
    """Return by fold the table of predictions of its training, the last one where there are several.

    Args:
        folder: of the expert's unfinished work
        count: of the folds
    """
    result = {}
    for fold in range(count):
        records = sorted(folder.glob(f"{folds.name_of(fold)}/*/{RECORD}"), key=lambda path: path.stat().st_mtime)
        if records:
            result[fold] = records[-1].parent / OUTPUTS / "predictions.parquet"
    return result


def scored(
    entry: RebalancingSettings, corpus: Manifest, name: str, fold: int, table: Path, reads_expert: bool
) -> dict[str, float]:
    """Return UA on dev and test of an entry that is fitted on one fold.

    Args:
        entry: with folds
        corpus: with folds
        name: of the entry
        fold: number from 0
        table: the expert's predictions of that fold
        reads_expert: whether the entry reads them, and not an embedding
    """
    reads = entry.reads.model_copy(update={"source": str(table)}) if reads_expert else entry.reads
    single, view = entry.model_copy(update={"folds": False, "reads": reads}), folds.view(corpus, fold)
    read = source.read(single, view, name)
    posterior, rows = model.apply(fit(read, view, single, name), read).posterior, read.rows(view)
    assert posterior is not None
    truth, result = view.truth()[rows], {}
    for split in ("dev", "test"):
        mask = view.mask(split)[rows] & (truth >= 0)
        result[split] = float(unweighted_accuracy(truth[mask], posterior[mask].argmax(axis=1), len(view.labels)))
    return result


def line(scores: dict[int, dict[str, float]], refit: bool) -> str:
    """Return the scores of an entry as text, in percent.

    Args:
        scores: by fold, of dev and test
        refit: whether the entry was fitted on dev too
    """
    parts = [f"{folds.name_of(fold)} {100 * values['test']:.1f}" for fold, values in scores.items()]
    mean = {split: 100 * float(np.mean([values[split] for values in scores.values()])) for split in ("test", "dev")}
    dev = "" if refit else f"; dev {mean['dev']:.1f}"
    return f"UA on test {', '.join(parts)}; mean {mean['test']:.1f}{dev}"


if __name__ == "__main__":
    run(main)
