"""Predictions in the manifest's order and over its labels.

Scores are over the manifest's labels only. A posterior that still holds O and X (the raw output of an expert trained
with them) loses these columns and is scaled to sum to 1 again; this leaves the order of the other labels as it is, so
it changes the calibration error but no choice of label. A row with nothing left is spread evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, PSEUDO
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance


@dataclass(frozen=True)
class System:
    """A scored table of predictions.

    Attributes:
        name: as in ``scoring.tables`` of params.yaml
        posterior: over the manifest's labels, a row an utterance of the manifest, shape ``(n, n_labels)``, NaN where
            the system has no prediction; None for a system without categories
        attributes: shape ``(n, 3)``, NaN likewise; None for a system without attributes
        provenance: splits and subsets on which something of it was fitted or chosen
    """

    name: str
    posterior: np.ndarray | None
    attributes: np.ndarray | None
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Splits and subsets on which something of it was fitted."""
        return self.provenance.fitted_on


def align(name: str, path: Path, predictions: Predictions, manifest: Manifest) -> System:
    """Return the predictions as a system in the manifest's order.

    Args:
        name: of the system
        path: of the predictions, for messages
        predictions: of any utterances, in any order
        manifest: the corpus

    Raises:
        InputError: the labels do not fit the manifest's, or no utterance is the manifest's
    """
    row_of = {utterance: row for row, utterance in enumerate(predictions.utterance_ids)}
    rows = np.array([row_of.get(utterance, -1) for utterance in manifest.ids], dtype=np.int64)
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
    return System(name, posterior, attributes, predictions.provenance)


def scored_posterior(
    posterior: np.ndarray, labels: Sequence[str], scored_labels: Sequence[str], path: Path
) -> np.ndarray:
    """Return the columns of the scored labels, in their order, rows summing to 1.

    Args:
        posterior: shape ``(n, len(labels))``
        labels: of its columns; O and X may be among them
        scored_labels: the manifest's
        path: of the predictions, for messages

    Returns:
        shape ``(n, len(scored_labels))``, rows sum to 1

    Raises:
        InputError: apart from O and X, the two lists hold different labels
    """
    missing, unknown = set(scored_labels) - set(labels), set(labels) - set(scored_labels) - set(PSEUDO)
    if missing or unknown:
        difference = f"lacks {sorted(missing)}" if missing else f"has {sorted(unknown)}"
        raise InputError(
            f"{path}: its posterior {difference}, the manifest's labels are {list(scored_labels)}"
            " (made from another corpus?)"
        )
    columns = posterior[:, [list(labels).index(label) for label in scored_labels]]
    total = columns.sum(axis=1, keepdims=True)
    return np.where(total > 0, columns / np.where(total > 0, total, 1), 1 / len(scored_labels))


def _spread(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ``values[rows]``, NaN where a row is -1."""
    spread = values[rows]
    spread[rows < 0] = np.nan
    return spread
