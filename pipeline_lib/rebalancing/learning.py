"""The learning curve of an embedding: how well its back end does with a share of the training recordings.

For each share the back end is fitted on a few draws of the labelled training recordings and scored on what it was not
fitted on: with folds on each fold's test part, pooled, so that every utterance counts once; on dev without. A draw
takes the share of each label, and within a label of each speaker; it is seeded, and a larger share holds the smaller
one's recordings. The curve is of the method alone, under a uniform prior and without calibration, on the layers that
the entry chose with all its recordings.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.folds import Part
from pipeline_lib.rebalancing.rebalance import DEVELOPMENT, TRAIN, fit
from pipeline_lib.storage import atomic
from pipeline_lib.tables.manifest import Manifest

COLUMNS = ("recordings", "macro_f1", "ua")
DRAWS = 3  # of each share below 1
RESAMPLES, SEED = 1000, 1  # of speakers, for the deviations
LEAST = 2  # recordings of a label, as far as there are: no back end is fitted on one
LEFT_OUT = "not drawn"  # a split of its own


def learning_curve(parts: Sequence[Part], settings: RebalancingSettings, name: str) -> dict[str, Any]:
    """Return the learning curve, empty for an entry without one.

    Args:
        parts: the entry fitted on each fold, or on its one split
        settings: of the entry
        name: of the entry

    Returns:
        by name, one value a share: ``recordings`` (mean over the folds), ``macro_f1``, ``ua`` (means over the draws),
        ``ua_deviation`` (standard deviation over resampled speakers); of the last two shares ``ua_gain`` and
        ``ua_gain_deviation``; and ``sentences``, which say what they mean. Empty, which is printed, where the held-out
        utterances have no label.
    """
    shares = settings.source.learning_curve if settings.source is not None else None
    if shares is None:
        return {}
    manifest, held_out = parts[0].manifest, _held_out(parts, settings)
    truth = manifest.truth()
    scored = held_out.any(axis=0) & (truth >= 0)
    if not scored.any():
        print(f"rebalancing.{name}: no learning curve, since no held-out utterance has a label")
        return {}
    curve: dict[str, Any] = {column: [] for column in (*COLUMNS, "ua_deviation")}
    right, n_labels = [], len(manifest.labels)
    speakers = _speakers(manifest)[scored]
    for share in shares:
        runs = [_predicted(parts, held_out, settings, name, share, draw) for draw in range(DRAWS if share < 1 else 1)]
        given = [predicted[scored] for predicted, _ in runs]
        right.append(np.mean([each == truth[scored] for each in given], axis=0))
        curve["recordings"].append(round(runs[0][1]))
        for metric, score in (("macro_f1", macro_f1), ("ua", unweighted_accuracy)):
            curve[metric].append(float(np.mean([score(truth[scored], each, n_labels) for each in given])))
        curve["ua_deviation"].append(deviation(right[-1], truth[scored], speakers))
    curve["ua_gain"] = curve["ua"][-1] - curve["ua"][-2]
    curve["ua_gain_deviation"] = deviation(right[-1] - right[-2], truth[scored], speakers)
    return curve | {"sentences": [_sentence(curve)]}


def draw_of(manifest: Manifest, share: float, draw: int) -> np.ndarray:
    """Return which utterances a draw fits on, bool, shape ``(n,)``; those of a larger share hold them.

    Args:
        manifest: with a split train
        share: of each label's recordings in train, in (0, 1]; at least two where there are two
        draw: number of the draw, which seeds it
    """
    generator = np.random.default_rng([SEED, draw])
    truth, speakers = manifest.truth(), _speakers(manifest)
    train = manifest.mask(TRAIN) & (truth >= 0)
    drawn = np.zeros(len(manifest), dtype=bool)
    for label in np.unique(truth[train]):
        rows = generator.permutation(np.flatnonzero(train & (truth == label)))
        names, group = np.unique(speakers[rows], return_inverse=True)
        rank = pd.Series(group).groupby(group).cumcount().to_numpy()
        place = (rank + generator.random(len(names))[group]) / np.bincount(group)[group]  # even within each speaker
        number = max(LEAST, round(share * len(rows)))
        drawn[rows[np.argsort(place, kind="stable")[:number]]] = True
    return drawn


def deviation(values: np.ndarray, truth: np.ndarray, speakers: np.ndarray) -> float:
    """Return the standard deviation of the mean over labels of the values' means, speakers being resampled.

    The bootstrap over clusters; where one speaker has all utterances these are resampled.

    Args:
        values: of each utterance, whether it is right for example, shape ``(n,)``
        truth: label indices, shape ``(n,)``
        speakers: numbers, shape ``(n,)``
    """
    names, cluster = np.unique(speakers, return_inverse=True)
    if len(names) < 2:
        cluster = np.arange(len(values))
    labels, column = np.unique(truth, return_inverse=True)
    n = cluster.max() + 1
    sums, counts = np.zeros((n, len(labels))), np.zeros((n, len(labels)))
    np.add.at(sums, (cluster, column), values)
    np.add.at(counts, (cluster, column), 1)
    weights = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    total = weights @ counts
    means = np.divide(weights @ sums, total, out=np.full(total.shape, np.nan), where=total > 0)
    return float(np.nanstd(np.nanmean(means, axis=1)))


def write(curve: Mapping[str, Any], plot: Path) -> None:
    """Write the curve as a plot, a share a row; of an entry without one its columns' names alone.

    Args:
        curve: see ``learning_curve``
        plot: CSV
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, *scores in zip(*(curve[column] for column in COLUMNS), strict=True) if curve else ():
        writer.writerow([number, *(f"{score:.6f}" for score in scores)])
    atomic.write_file(plot, file.getvalue())


def _held_out(parts: Sequence[Part], settings: RebalancingSettings) -> np.ndarray:
    """Return which utterances each part is scored on, bool, shape ``(n_parts, n)``: its test part, or dev."""
    split = "test" if settings.folds else DEVELOPMENT
    rows = [np.isin(part.manifest.ids, part.table.utterance_ids) for part in parts]
    return np.stack([part.manifest.mask(split) & has for part, has in zip(parts, rows, strict=True)])


def _predicted(
    parts: Sequence[Part], held_out: np.ndarray, settings: RebalancingSettings, name: str, share: float, draw: int
) -> tuple[np.ndarray, float]:
    """Return each held-out utterance's label, -1 elsewhere, shape ``(n,)``, and the mean number of recordings."""
    predicted, numbers = np.full(held_out.shape[1], -1, dtype=np.int64), []
    for part, inside in zip(parts, held_out, strict=True):
        drawn = draw_of(part.manifest, share, draw)
        table = model.apply(fit(part.source, _thinned(part.manifest, drawn), _bare(part, settings), name), part.source)
        assert table.posterior is not None
        rows = part.source.rows(part.manifest)
        own = inside[rows]
        predicted[rows[own]] = table.posterior[own].argmax(axis=1)
        numbers.append(int(drawn[rows].sum()))
    return predicted, float(np.mean(numbers))


def _thinned(manifest: Manifest, drawn: np.ndarray) -> Manifest:
    """Return the manifest with what was drawn as train, and without attributes, which the curve does not score."""
    train = manifest.mask(TRAIN)
    frame = manifest.frame.assign(**dict.fromkeys(ATTRIBUTES, np.nan))
    splits = np.where(train & ~drawn, LEFT_OUT, frame["split"].to_numpy(dtype=object))
    return replace(manifest, frame=frame.assign(split=splits))


def _bare(part: Part, settings: RebalancingSettings) -> RebalancingSettings:
    """Return the settings of a draw: the part's layers, a uniform prior, no calibration."""
    assert settings.source is not None
    numbers = sorted({layer for together in part.model.back_ends for layer in together})
    read = settings.source.model_copy(update={"layers": numbers})
    return part.model.settings.model_copy(update={"source": read, "calibration": "none", "prior": "uniform"})


def _speakers(manifest: Manifest) -> np.ndarray:
    """Return the speakers as numbers, shape ``(n,)``; an utterance without one is a speaker of its own."""
    names = [f"speaker {s}" if isinstance(s, str) else f"row {i}" for i, s in enumerate(manifest.frame["speaker"])]
    return np.unique(names, return_inverse=True)[1]


def _sentence(curve: Mapping[str, Any]) -> str:
    fewer, more = curve["recordings"][-2:]
    gain, spread = curve["ua_gain"], curve["ua_gain_deviation"]
    if gain > 2 * spread:
        verdict = "more recordings of this kind would probably help"
    elif gain < -2 * spread:
        verdict = "more recordings of this kind made it worse: are their labels right?"
    else:
        verdict = "the gain cannot be told from none: cleaner labels or another encoder may help more"
    return (
        f"From {fewer} to {more} training recordings UA changes by {gain:+.3f} (deviation {spread:.3f} over speakers):"
        f" {verdict}"
    )
