"""Back ends on the layers of an embedding: one on their mean vector, one a layer, or one on the best of them."""

from collections.abc import Mapping

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.params.rebalancing import SourceSettings
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.regression import AttributeRegression
from pipeline_lib.rebalancing.source import Layers, Source

BEST = "best_on_dev"


def read_together(settings: SourceSettings, source: Source) -> list[Layers]:
    """Return the layers that each back end reads: all of them one, or each its own.

    Args:
        settings: layers and what is averaged
        source: an embedding
    """
    numbers = source.stored if isinstance(settings.layers, str) else tuple(settings.layers)
    if settings.layers != BEST and settings.average == "vectors":
        return [numbers]
    return [(number,) for number in numbers]


def scores_on(
    dev: np.ndarray, back_ends: dict[Layers, BackEnd], source: Source, truth: np.ndarray, n_labels: int
) -> dict[int, float]:
    """Return macro-F1 of each layer's back end, by the layer's number.

    Args:
        dev: which rows are scored, bool, shape ``(n,)``
        back_ends: one a layer
        source: an embedding of n rows
        truth: label indices, shape ``(n,)``, -1 without a label
        n_labels: of the corpus
    """
    return {
        layers[0]: macro_f1(
            truth[dev], back_end.classes_[back_end.predict_proba(source.vectors(layers)[dev]).argmax(axis=1)], n_labels
        )
        for layers, back_end in back_ends.items()
    }


def best(scores: dict[int, float], where: str) -> Layers:
    """Return the layer with the largest score, of equal ones the first, and print all.

    Args:
        scores: by layer
        where: dotted name of the entry, for the message
    """
    number = max(scores, key=lambda layer: (scores[layer], -layer))
    line = ", ".join(f"{layer}: {score:.6f}" for layer, score in scores.items())
    print(f"{where}.source.layers: {number} has the best macro-F1 on dev of the layers {{{line}}}")
    return (number,)


def regressions(
    together: list[Layers],
    source: Source,
    values: Mapping[str, np.ndarray],
    train: np.ndarray,
    ridge: float,
) -> dict[Layers, dict[str, AttributeRegression]]:
    """Return a regression to each attribute that two or more training utterances have, by layers.

    Args:
        together: the layers that each regression reads
        source: an embedding of n rows
        values: of each attribute, shape ``(n,)``, NaN where there is none
        train: which rows are fitted on, bool, shape ``(n,)``
        ridge: L2 penalty
    """
    rows = {name: train & ~np.isnan(column) for name, column in values.items()}
    names = [name for name in values if rows[name].sum() > 1]
    result: dict[Layers, dict[str, AttributeRegression]] = {}
    for layers in together if names else []:
        vectors = source.vectors(layers)
        result[layers] = {
            name: AttributeRegression(ridge).fit(vectors[rows[name]], values[name][rows[name]]) for name in names
        }
    return result


def refuse_without_labels(dev: np.ndarray, where: str) -> None:
    """Refuse to choose a layer where no utterance of dev has a label.

    Args:
        dev: labelled rows of dev, bool, shape ``(n,)``
        where: dotted name of the entry

    Raises:
        InputError: there is none
    """
    if not dev.any():
        raise InputError(f"{where}.source.layers is {BEST!r}, but no utterance of dev has a label; expected 'each'")
