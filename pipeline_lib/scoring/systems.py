"""Bring a table of predictions into the manifest's order and label list.

Scores are over the manifest's labels only. A posterior that still holds O and X (the raw output of an expert trained
with them) loses these columns and is scaled to sum to 1 again; this leaves the order of the other labels as it is, so
it changes the calibration error but no choice of label. A row with nothing left is spread evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, PSEUDO
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions


@dataclass(frozen=True)
class System:
    """What is scored.

    Attributes:
        name: as params.yaml has it
        posterior: over the manifest's labels, a row an utterance of the manifest, shape ``(n, n_labels)``, NaN where
            the system says nothing; None for a system without categories
        attributes: shape ``(n, 3)``, NaN likewise; None for a system without attributes
        fitted_on: subsets on which something of it was fitted
    """

    name: str
    posterior: np.ndarray | None
    attributes: np.ndarray | None
    fitted_on: tuple[str, ...] = ()


def align(name: str, path: Path, predictions: Predictions, manifest: Manifest) -> System:
    """Return the predictions as a system in the manifest's order.

    Raises:
        InputError: the labels do not fit the manifest's, or no utterance is the manifest's
    """
    place = {each: i for i, each in enumerate(predictions.utterance_ids)}
    rows = np.array([place.get(each, -1) for each in manifest.ids], dtype=np.int64)
    if not (rows >= 0).any():
        raise InputError(
            f"{path}: none of its {len(predictions)} utterances is in the manifest (was the corpus changed?)"
        )
    posterior = attributes = None
    if predictions.posterior is not None:
        scored = scored_posterior(predictions.posterior, predictions.labels, manifest.labels, path)
        posterior = _spread(scored, rows)
    if predictions.attributes is not None:
        attributes = np.full((len(manifest), len(ATTRIBUTES)), np.nan)
        for i, attribute in enumerate(predictions.attribute_names):
            if attribute not in ATTRIBUTES:
                raise InputError(f"{path}: attribute {attribute!r} is not among {list(ATTRIBUTES)}")
            attributes[:, ATTRIBUTES.index(attribute)] = _spread(predictions.attributes[:, i], rows)
    if posterior is None and attributes is None:
        raise InputError(f"{path} holds neither posterior nor attributes, there is nothing to score")
    return System(name, posterior, attributes, predictions.fitted_on)


def scored_posterior(posterior: np.ndarray, has: Sequence[str], expected: Sequence[str], path: Path) -> np.ndarray:
    """Return the columns of the scored labels, in their order, rows summing to 1.

    Args:
        posterior: shape ``(n, len(has))``
        has: its labels; O and X may be among them
        expected: the scored labels
        path: for the message

    Returns:
        shape ``(n, len(expected))``

    Raises:
        InputError: apart from O and X, the two lists hold different labels
    """
    missing, foreign = set(expected) - set(has), set(has) - set(expected) - set(PSEUDO)
    if missing or foreign:
        said = f"lacks {sorted(missing)}" if missing else f"has {sorted(foreign)}"
        raise InputError(
            f"{path}: its posterior {said}, the manifest's labels are {list(expected)} (made from another corpus?)"
        )
    kept = posterior[:, [list(has).index(label) for label in expected]]
    total = kept.sum(axis=1, keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / len(expected))


def _spread(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ``values[rows]``, NaN where a row is -1."""
    found = values[rows]
    found[rows < 0] = np.nan
    return found
