"""metrics/plots/: tables in the shapes that DVC's templates draw, one file a system."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline_lib.metrics.calibration import calibration
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.scored_rows import category_rows, posterior_of
from pipeline_lib.scoring.splits import name_on, names_of
from pipeline_lib.scoring.systems import System
from pipeline_lib.storage import atomic
from pipeline_lib.tables.manifest import Manifest


def write_plots(folder: Path, manifest: Manifest, systems: Sequence[System], settings: ScoringSettings) -> None:
    """Write confusion and reliability of every system that has categories on the plotted split.

    ``confusion/<system>.csv``: actual, predicted; a row an utterance, as DVC's confusion templates count them.
    ``reliability/<system>.csv``: confidence, accuracy, perfect (the diagonal) and n of each bin that is not empty.

    Args:
        folder: metrics/plots; tables of an earlier run in it are removed
        manifest: truth
        systems: any; those without categories get no table
        settings: the plotted split and the number of bins
    """
    split, bins = settings.plotted_split, settings.calibration_bins
    for kind in ("confusion", "reliability"):
        _empty(folder / kind)
    here = names_of(manifest, manifest.mask(split))
    for system in systems:
        rows = category_rows(manifest, system, manifest.mask(split))
        if not rows.any():
            continue
        name, truth, posterior = name_on(system, here), manifest.truth()[rows], posterior_of(system, rows)
        pairs = zip(truth, posterior.argmax(axis=1), strict=True)
        named = ((manifest.labels[actual], manifest.labels[predicted]) for actual, predicted in pairs)
        _write(folder / "confusion" / f"{name}.csv", ("actual", "predicted"), named)
        counted = zip(*calibration(posterior, truth, bins), strict=True)
        points = ((f"{sure:.6f}", f"{right:.6f}", f"{sure:.6f}", n) for n, sure, right in counted if n)
        _write(folder / "reliability" / f"{name}.csv", ("confidence", "accuracy", "perfect", "n"), points)


def write_systems(path: Path, scores: dict[str, Any], settings: ScoringSettings) -> None:
    """Write a bar a system of the plotted split: corpus, system, macro_f1, ua, wa.

    Args:
        path: the CSV file
        scores: as in metrics/details.json
        settings: the plotted split
    """
    metrics = ("macro_f1", "ua", "wa")
    systems = {name: values for name, values in scores[settings.plotted_split].items() if {"ua", "n"} <= set(values)}
    rows = ((scores["corpus"], name, *(f"{values[m]:.6f}" for m in metrics)) for name, values in systems.items())
    _write(path, ("corpus", "system", *metrics), rows)


def _empty(folder: Path) -> None:
    """Make the folder and remove an earlier run's tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic.write_file(path, file.getvalue())
