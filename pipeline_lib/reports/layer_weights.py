"""Learned weights of an encoder's layers in trained experts: figure 2 of de Oliveira et al.

    ser plot layer-weights arousal valence dominance

reads the learned weights of experts with ``layers: weighted`` (of a joint expert each branch's) and writes
``metrics/plots/layer_weights/<expert>.csv``, which ``dvc plots show`` draws, and all of them in one picture,
``metrics/figures/layer_weights.png``.

The weights of an expert are above 0 and sum to 1. Layer 0 is what enters the first block, layer i the output of block
i; the paper counts alike, but its 0 is the output of the convolutions, before their projection and positions. A layer
whose states are longer than another's does more with the same weight: weights are no measure of what a layer knows.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipeline_lib.errors import InputError
from pipeline_lib.experts.folds import experts_of
from pipeline_lib.experts.settings import check_version
from pipeline_lib.reports import drawing
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.tables import manifest

PREFIX, SCORES = "layer_weights.", ".scores"


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    """Return a trained expert's layer weights by modality; of an expert with folds the mean of its folds.

    Args:
        folder: of the expert

    Returns:
        each of shape ``(n_layers,)``, in (0, 1), sum to 1

    Raises:
        InputError: there is no such expert, it is damaged, or it takes the last layer alone
    """
    if of_folds := [weights_of(each) for each in experts_of(folder)]:
        return {name: np.mean([weights[name] for weights in of_folds], axis=0) for name in of_folds[0]}
    settings, path = folder / "settings.json", folder / "head.safetensors"
    try:
        record, checksums = checksummed_json.read(settings, required=False)
        check_version(settings, record.get("format_version"))
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename or path} does not exist; the stage finetuning writes it (dvc repro)"
        ) from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}; train the expert again") from None
    checksummed_json.check(path, checksums.get(path.name))
    weights = {}
    for name, scores in sorted(tensors.items()):
        if name.startswith(PREFIX) and name.endswith(SCORES):
            exponentials = np.exp(scores.astype(np.float64) - scores.max())
            weights[name.removeprefix(PREFIX).removesuffix(SCORES)] = exponentials / exponentials.sum()
    if not weights:
        raise InputError(f"{folder} has no weights of layers; expected an expert with layers: weighted")
    return weights


def write_table(path: Path, weights: np.ndarray) -> None:
    """Write layer and weight as CSV, a row a layer.

    Args:
        path: the file
        weights: shape ``(n_layers,)``
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(("layer", "weight"))
    table.writerows((layer, f"{weight:.6f}") for layer, weight in enumerate(weights))
    atomic.write_file(path, file.getvalue())


def draw(path: Path, curves: Mapping[str, np.ndarray], notice: str) -> None:
    """Draw the experts' weights over the layers; a dashed line marks the weights before training.

    Args:
        path: the PNG file
        curves: by the expert's name its weights, shape ``(n_layers,)``
        notice: the corpus's notice, at the foot
    """
    figure = drawing.begin(6.4, 3.6, notice)
    axes = figure.subplots()
    marks = drawing.style(list(curves))
    for name, weights in curves.items():
        colour, mark = marks[name]
        axes.plot(np.arange(len(weights)), weights, color=colour, marker=mark, markersize=5, linewidth=1.6, label=name)
    for n_layers in sorted({len(weights) for weights in curves.values()}):
        axes.hlines(1 / n_layers, 0, n_layers - 1, color="#888888", linestyle="--", linewidth=1)
    axes.set(xlabel="layer; 0 enters the first block", ylabel="weight")
    axes.set_ylim(0, 1.2 * max(float(weights.max()) for weights in curves.values()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    drawing.write(path, figure)


def write_figure(
    experts: list[str],
    models: Path = Path("models"),
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("metrics"),
) -> None:
    """Write and draw the experts' weights of layers.

    Args:
        experts: entries of finetuning, trained with ``layers: weighted``
        models: folder of the trained experts
        manifest_path: the corpus
        out: folder to write to
    """
    curves: dict[str, np.ndarray] = {}
    for name in experts:
        learned = weights_of(models / name)
        curves |= {name if len(learned) == 1 else f"{name}_{modality}": part for modality, part in learned.items()}
    notice = manifest.read(manifest_path).notice
    for name, weights in curves.items():
        write_table(out / "plots" / "layer_weights" / f"{name}.csv", weights)
        order = ", ".join(f"{layer} ({weights[layer]:.3f})" for layer in np.argsort(-weights, kind="stable")[:3])
        print(f"{name}: most of layers {order}; all began with {1 / len(weights):.3f}")
    atomic.write_file(
        out / "figures" / "layer_weights.json",
        json.dumps({"notice": notice, "weights": {name: curve.tolist() for name, curve in curves.items()}}, indent=2)
        + "\n",
    )
    draw(out / "figures" / "layer_weights.png", curves, notice)
