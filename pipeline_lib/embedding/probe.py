"""The layer curve: what a linear model reads from each layer, trained on train and scored on dev.

Categories by multinomial logistic regression, attributes by ridge regression, both on features standardised by the
training utterances. The curve compares layers; the best layer is chosen on dev, so its score there is optimistic.
"""

import csv
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.embedding import ProbeSettings
from pipeline_lib.storage import atomic
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.manifest import Manifest, keep

Curve = dict[int, dict[str, float]]


def probe(folder: Path, manifest: Manifest, settings: ProbeSettings) -> Curve:
    """Return the scores of every stored layer.

    Args:
        folder: the embedding
        manifest: with splits train and dev; utterances that the embedding leaves out have no part in the curve
        settings: strengths of the regularisation

    Returns:
        layer to metrics: macro_f1 and ua where both splits have labels, ccc_<attribute> where both have that attribute

    Raises:
        InputError: the splits are missing or have neither labels nor attributes
    """
    info = embeddings.read_info(folder)
    manifest = _embedded(folder, info, manifest)
    train, dev = manifest.mask("train"), manifest.mask("dev")
    tasks = _tasks(manifest, train, dev, settings)
    if not tasks:
        raise InputError(
            "train and dev have no label and no attribute in common for the layer probe; set probe.enabled to false"
        )
    curve: Curve = {}
    for layer in info.layers:
        ids, vectors = embeddings.read_layer(folder, layer)
        if ids.tolist() != manifest.ids.tolist():
            raise InputError(f"{folder} and the manifest have different utterances (was the corpus changed since?)")
        curve[layer] = {}
        for task in tasks:
            curve[layer] |= task(vectors.astype(np.float64))
    return curve


def _embedded(folder: Path, info: embeddings.Info, manifest: Manifest) -> Manifest:
    """Return the utterances that the embedding holds, where all others are those that it counts as left out."""
    if not info.n_without:
        return manifest
    held = set(embeddings.read_layer(folder, info.layers[0])[0])
    rows = np.array([name in held for name in manifest.ids], dtype=bool)
    return keep(manifest, rows) if int((~rows).sum()) == info.n_without else manifest


def write(curve: Curve, plot: Path, metrics: Path, corpus_notice: str = "") -> None:
    """Write the curve as a plot with one column a metric, and as metrics with the best layer of each.

    Args:
        curve: see ``probe``, may be empty
        plot: CSV, its first column the layer
        metrics: JSON
        corpus_notice: the manifest's, shown beside the numbers
    """
    names = list(next(iter(curve.values()), {"macro_f1": 0.0, "ua": 0.0}))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["layer", *names])
    writer.writerows([layer, *(f"{scores[name]:.6f}" for name in names)] for layer, scores in curve.items())
    atomic.write(plot, file.getvalue())
    best: dict[str, Any] = {}
    for name in names if curve else []:
        layer = max(curve, key=lambda number: (curve[number][name], -number))  # of equal ones the first
        best[name] = {"layer": layer, "score": round(curve[layer][name], 6)}
    summary = {"best_on_dev": best} | ({"notice": corpus_notice} if corpus_notice else {})
    atomic.write(metrics, json.dumps(summary, indent=2, sort_keys=True) + "\n")


def _tasks(
    manifest: Manifest, train: np.ndarray, dev: np.ndarray, settings: ProbeSettings
) -> list[Callable[[np.ndarray], dict[str, float]]]:
    """Return the tasks of the probe, functions of a layer's vectors, shape ``(n, width)``, to scores by name."""
    tasks: list[Callable[[np.ndarray], dict[str, float]]] = []
    truth = manifest.truth()
    known, scored = train & (truth >= 0), dev & (truth >= 0)
    if len(np.unique(truth[known])) > 1 and scored.any():
        tasks.append(lambda x: _categories(x, truth, known, scored, len(manifest.labels), settings))
    for name in ATTRIBUTES:
        values = manifest.attributes([name])[:, 0]
        has = ~np.isnan(values)
        if (train & has).sum() > 1 and (dev & has).any():
            rows = {"train": train & has, "dev": dev & has}
            tasks.append(partial(_attribute, name=name, values=values, settings=settings, **rows))
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
    vectors: np.ndarray, name: str, values: np.ndarray, train: np.ndarray, dev: np.ndarray, settings: ProbeSettings
) -> dict[str, float]:
    from sklearn.linear_model import Ridge

    x, y = _standardised(vectors, train, dev)
    prediction = Ridge(alpha=settings.ridge, solver="cholesky").fit(x, values[train]).predict(y)
    return {f"ccc_{name}": concordance(values[dev], prediction)}


def _standardised(vectors: np.ndarray, train: np.ndarray, dev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return train and dev with the training utterances' mean 0 and deviation 1; a constant column becomes 0."""
    mean, spread = vectors[train].mean(axis=0), vectors[train].std(axis=0)
    scale = np.where(spread > 1e-12, 1 / np.where(spread > 1e-12, spread, 1.0), 0.0)
    return (vectors[train] - mean) * scale, (vectors[dev] - mean) * scale
