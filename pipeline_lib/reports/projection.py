"""Embeddings in the plane by t-SNE, coloured by emotion, side by side: figure 3 of MERSA.

    ser plot projection before=data/embeddings/bert after=data/embeddings/aligned

writes ``metrics/figures/projection.png``, the points as ``projection.csv`` and ``projection.json`` with each system's
silhouette (Rousseeuw 1987: 1 where emotions lie apart, 0 where they overlap, below 0 where they are mixed up). A
picture by t-SNE shows neighbourhoods and no distances; the number to compare is the silhouette of the vectors
themselves, by cosine as the multi-similarity loss sees them. Draw a split on which nothing was trained: train flatters.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from pipeline_lib.errors import InputError
from pipeline_lib.reports import drawing
from pipeline_lib.storage import atomic
from pipeline_lib.tables import embeddings, manifest, predictions
from pipeline_lib.tables.manifest import Manifest

FEWEST = 5


@dataclass(frozen=True)
class Cloud:
    """One system's embeddings of the drawn utterances.

    Attributes:
        vectors: shape ``(n, width)``
        points: their places in the plane, shape ``(n, 2)``
        silhouette: of the vectors by cosine, in [-1, 1]
        silhouette_in_the_plane: of the points by Euclid, in [-1, 1]
    """

    vectors: np.ndarray
    points: np.ndarray
    silhouette: float
    silhouette_in_the_plane: float


def vectors_of(path: Path, layer: int | None, ids: Sequence[str]) -> np.ndarray:
    """Return the embeddings of some utterances, shape ``(n, width)``.

    Args:
        path: a folder of data/embeddings, or a table of predictions that holds embeddings
        layer: of a folder; None takes the last that it stores
        ids: of the utterances, in order

    Raises:
        InputError: there is no such embedding, or it lacks an utterance
    """
    stored, vectors = _stored(path, layer)
    places = {each: i for i, each in enumerate(stored)}
    missing = [each for each in ids if each not in places]
    if missing:
        raise InputError(f"{path} lacks {len(missing)} of {len(ids)} utterances, {missing[0]!r} first")
    return vectors[[places[each] for each in ids]].astype(np.float64)


def held(corpus: Manifest, paths: Sequence[Path], layer: int | None, split: str) -> np.ndarray:
    """Return which utterances all systems have an embedding of, bool, shape ``(n,)``, and print how many have not."""
    has = np.logical_and.reduce([np.isin(corpus.ids, _stored(path, layer)[0]) for path in paths])
    without = corpus.ids[corpus.mask(split) & (corpus.truth() >= 0) & ~has]
    if len(without):
        print(f"{len(without)} utterances of {split} lack an embedding of some system, {without[0]!r} first: left out")
    return has


def _stored(path: Path, layer: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the identifiers and embeddings that a path holds."""
    if path.is_dir():
        stored = embeddings.read_info(path).layers
        return embeddings.read_layer(path, stored[-1] if layer is None else layer)
    table = predictions.read(path)
    if table.embedding is None:
        raise InputError(f"{path} holds no embeddings; give a folder of data/embeddings or an expert's predictions")
    return table.utterance_ids, table.embedding


def drawn(corpus: Manifest, split: str, largest: int, seed: int, has: np.ndarray | None = None) -> np.ndarray:
    """Return the places in the manifest of the utterances that are drawn: of the split, with a scored emotion.

    Args:
        corpus: the manifest
        split: a split or subset of it
        largest: most that are drawn
        seed: of the draw
        has: which utterances may be drawn, bool; None for all

    Raises:
        InputError: fewer than 5, or of one emotion only
    """
    rows = np.flatnonzero(corpus.mask(split) & (corpus.truth() >= 0) & (True if has is None else has))
    if len(rows) > largest:
        rows = np.sort(np.random.default_rng([seed, 0]).choice(rows, largest, replace=False))
    if len(rows) < FEWEST or len(set(corpus.truth()[rows])) < 2:
        raise InputError(
            f"split {split!r} has {len(rows)} utterances with an emotion; expected {FEWEST} of two or more"
        )
    return rows


def project(vectors: np.ndarray, truth: np.ndarray, perplexity: float, seed: int) -> Cloud:
    """Return the vectors' places in the plane and how far emotions lie apart.

    Args:
        vectors: shape ``(n, width)``
        truth: labels, shape ``(n,)``
        perplexity: of t-SNE, lowered where there are too few utterances for it
        seed: of t-SNE
    """
    lowered = min(perplexity, (len(vectors) - 1) / 3)
    points = TSNE(2, perplexity=lowered, init="pca", random_state=seed).fit_transform(vectors.astype(np.float32))
    return Cloud(
        vectors,
        points,
        float(silhouette_score(vectors, truth, metric="cosine")),
        float(silhouette_score(points, truth)),
    )


def write(out: Path, corpus: Manifest, rows: np.ndarray, split: str, clouds: Mapping[str, Cloud]) -> None:
    """Write the picture, the points and the silhouettes."""
    truth = corpus.truth()[rows]
    said = {"corpus": corpus.corpus, "notice": corpus.notice, "split": split, "utterances": len(rows)}
    said["silhouette"] = {name: each.silhouette for name, each in clouds.items()}
    said["silhouette_in_the_plane"] = {name: each.silhouette_in_the_plane for name, each in clouds.items()}
    atomic.write(out.with_suffix(".json"), json.dumps(said, indent=2, allow_nan=False) + "\n")
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("system", "utterance_id", "emotion", "x", "y"))
    for name, each in clouds.items():
        for row, label, (x, y) in zip(rows, truth, each.points, strict=True):
            table.writerow((name, corpus.ids[row], corpus.labels[label], f"{x:.4f}", f"{y:.4f}"))
    atomic.write(out.with_suffix(".csv"), file.getvalue())
    _draw(out.with_suffix(".png"), corpus, truth, split, clouds)


def _draw(path: Path, corpus: Manifest, truth: np.ndarray, split: str, clouds: Mapping[str, Cloud]) -> None:
    figure = drawing.begin(4.2 * len(clouds) + 1.2, 4.4, corpus.notice)
    figure.suptitle(f"t-SNE of {len(truth)} utterances of {corpus.corpus}, {split}", fontsize=11)
    axes = figure.subplots(1, len(clouds), squeeze=False)[0]
    marks = drawing.style(corpus.labels)
    for plane, (name, each) in zip(axes, clouds.items(), strict=True):
        for i, label in enumerate(corpus.labels):
            x, y = each.points[truth == i].T
            colour, mark = marks[label]
            plane.scatter(x, y, s=14, c=colour, marker=mark, alpha=0.75, linewidths=0, label=label)
        plane.set_title(f"{name}: silhouette {each.silhouette:.3f}", fontsize=10)
        plane.set_xticks([])
        plane.set_yticks([])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False, markerscale=1.8)
    drawing.write(path, figure)


def write_figure(
    systems: list[str],
    split: str = "test",
    layer: int | None = None,
    largest: int = 2000,
    perplexity: float = 30.0,
    seed: int = 1,
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("metrics/figures/projection"),
) -> None:
    """Draw embeddings of one or more systems in the plane, and say how far emotions lie apart."""
    bad = [each for each in systems if not all(each.partition("="))]
    if bad:
        raise InputError(f"{bad[0]!r} is no system, expected NAME=PATH, as in after=data/embeddings/aligned")
    corpus = manifest.read(manifest_path)
    paths = [Path(each.partition("=")[2]) for each in systems]
    rows = drawn(corpus, split, largest, seed, held(corpus, paths, layer, split))
    clouds = {}
    for each in systems:
        name, _, path = each.partition("=")
        vectors = vectors_of(Path(path), layer, corpus.ids[rows])
        clouds[name] = project(vectors, corpus.truth()[rows], perplexity, seed)
        print(f"{name}: silhouette {clouds[name].silhouette:.4f} on {len(rows)} utterances of {split}")
    write(out, corpus, rows, split, clouds)
    if corpus.notice:
        print(corpus.notice)
