"""The layer curve: what a linear model reads from each layer, trained on train and scored on dev.

Categories by multinomial logistic regression, attributes by ridge regression, both on features standardised by the
training utterances. The curve compares layers; the best layer is chosen on dev, so its score there is optimistic.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.rebalancing import ProbeSettings, SourceSettings
from pipeline_lib.rebalancing.regression import AttributeRegression
from pipeline_lib.rebalancing.source import Source
from pipeline_lib.storage import atomic
from pipeline_lib.tables.manifest import Manifest

Curve = dict[int, dict[str, float]]
Task = Callable[[np.ndarray], dict[str, float]]


def probe(source: Source, manifest: Manifest, settings: SourceSettings, name: str) -> Curve:
    """Return the scores of every stored layer.

    Args:
        source: an embedding, normalised as the entry says
        manifest: with splits train and dev; utterances that the embedding leaves out have no part in the curve
        settings: strengths of the regularisation
        name: of the entry, for messages

    Returns:
        layer to metrics: macro_f1 and ua where both splits have labels, ccc_<attribute> where both have that attribute;
        empty, which is printed, where they have nothing
    """
    rows = source.rows(manifest)
    tasks = _tasks(manifest, rows, settings)
    if not tasks:
        print(f"rebalancing.{name}: no layer curve, since train and dev have no label and no attribute in common")
        return {}
    curve: Curve = {}
    for layer in source.stored:
        vectors = source.vectors((layer,))
        curve[layer] = {}
        for task in tasks:
            curve[layer] |= task(vectors)
    return curve


def mean(curves: Sequence[Curve]) -> Curve:
    """Return the mean of the folds' curves, of the metrics that all of them have; empty where one has none.

    Args:
        curves: of the same layers
    """
    result: Curve = {}
    for layer, scores in curves[0].items() if all(curves) else ():
        names = [name for name in scores if all(name in curve[layer] for curve in curves)]
        result[layer] = {name: sum(curve[layer][name] for curve in curves) / len(curves) for name in names}
    return result


def write(curve: Curve, further: Mapping[str, Any], plot: Path, metrics: Path, corpus_notice: str = "") -> None:
    """Write the curve as a plot with one column a metric, and as metrics with the best layer of each.

    Args:
        curve: see ``probe``; of an entry without one it is empty, and the plot holds its columns' names alone
        further: metrics of the entry, by name
        plot: CSV, its first column the layer
        metrics: JSON
        corpus_notice: the manifest's, for whoever reads the numbers
    """
    names = list(next(iter(curve.values()), {"macro_f1": 0.0, "ua": 0.0}))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["layer", *names])
    writer.writerows([layer, *(f"{scores[name]:.6f}" for name in names)] for layer, scores in curve.items())
    atomic.write_file(plot, file.getvalue())
    summary: dict[str, Any] = {}
    if curve:
        # of equal layers the first
        best = {name: max(curve, key=lambda layer: (curve[layer][name], -layer)) for name in names}
        summary["best_on_dev"] = {n: {"layer": k, "score": curve[k][n]} for n, k in best.items()}
    summary = _rounded({**summary, **further})
    if summary and corpus_notice:
        summary["notice"] = corpus_notice
    atomic.write_file(metrics, json.dumps(summary, indent=2, sort_keys=True) + "\n")


def _rounded(value: Any) -> Any:
    """Return JSON's types with their numbers rounded to six decimals."""
    match value:
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
        case float():
            return round(value, 6)
        case _:
            return value


def _tasks(manifest: Manifest, rows: np.ndarray, settings: SourceSettings) -> list[Task]:
    """Return the tasks of the probe, functions of a layer's vectors, shape ``(n, width)``, to scores by name."""
    tasks: list[Task] = []
    truth, train, dev = (column[rows] for column in (manifest.truth(), manifest.mask("train"), manifest.mask("dev")))
    known, scored = train & (truth >= 0), dev & (truth >= 0)
    if len(np.unique(truth[known])) > 1 and scored.any():
        tasks.append(lambda x: _categories(x, truth, known, scored, len(manifest.labels), settings.probe))
    for name in ATTRIBUTES:
        values = manifest.attributes([name])[rows, 0]
        has = ~np.isnan(values)
        if (train & has).sum() > 1 and (dev & has).any():
            on = {"train": train & has, "dev": dev & has}
            tasks.append(partial(_attribute, name=name, values=values, ridge=settings.ridge, **on))
    return tasks


def _categories(
    vectors: np.ndarray, truth: np.ndarray, train: np.ndarray, dev: np.ndarray, n_labels: int, settings: ProbeSettings
) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    x, y = _standardised(vectors, train, dev)
    model = LogisticRegression(C=1 / settings.penalty, max_iter=settings.max_iterations, tol=1e-3)
    prediction = model.fit(x, truth[train]).predict(y)
    scores = (macro_f1, unweighted_accuracy)
    return {
        name: score(truth[dev], prediction, n_labels) for name, score in zip(("macro_f1", "ua"), scores, strict=True)
    }


def _attribute(
    vectors: np.ndarray, name: str, values: np.ndarray, train: np.ndarray, dev: np.ndarray, ridge: float
) -> dict[str, float]:
    prediction = AttributeRegression(ridge).fit(vectors[train], values[train]).predict(vectors[dev])
    return {f"ccc_{name}": concordance(values[dev], prediction)}


def _standardised(vectors: np.ndarray, train: np.ndarray, dev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return train and dev with the training utterances' mean 0 and deviation 1; a constant column becomes 0."""
    mean, spread = vectors[train].mean(axis=0), vectors[train].std(axis=0)
    scale = np.where(spread > 1e-12, 1 / np.where(spread > 1e-12, spread, 1.0), 0.0)
    return (vectors[train] - mean) * scale, (vectors[dev] - mean) * scale
