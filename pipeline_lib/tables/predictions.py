"""Predictions of an expert for each utterance: data/predictions/, data/rebalanced/ and data/fused.parquet.

Fine-tuning, rebalancing and fusion are closed over this table: scoring reads any of them, an experiment may skip any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_lib.errors import InputError
from pipeline_lib.tables import _parquet
from pipeline_lib.tables.provenance import UNKNOWN, Provenance

SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Predictions:
    """Posterior, attributes and embedding of each utterance; None where the expert has no such output.

    Attributes:
        utterance_ids: shape ``(n,)``, sorted and unique
        expert: its name
        labels: the posterior's columns; may include O and X
        posterior: P(y|x), float64, shape ``(n, n_labels)``, rows sum to 1
        training_prior: the class prior that the posterior contains, shape ``(n_labels,)``
        attribute_names: the attributes' columns
        attributes: on the corpus's scale, float64, shape ``(n, n_attributes)``
        embedding: float32, shape ``(n, width)``
        provenance: splits whose labels it was fitted or chosen on; without one, that it is not recorded
        device: kind of device that the expert predicted on; None of a fused table, and in files of older code
        precision: of its forward pass, None likewise
    """

    utterance_ids: np.ndarray
    expert: str
    labels: tuple[str, ...] = ()
    posterior: np.ndarray | None = None
    training_prior: np.ndarray | None = None
    attribute_names: tuple[str, ...] = ()
    attributes: np.ndarray | None = None
    embedding: np.ndarray | None = None
    provenance: Provenance = UNKNOWN
    device: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        """Name the table where it is made without a record."""
        if self.provenance is UNKNOWN:
            object.__setattr__(self, "provenance", Provenance(not_recorded=(self.expert,)))

    @property
    def fitted_on(self) -> tuple[str, ...]:
        """Splits and subsets on which something of it was fitted; a score there is resubstitution."""
        return self.provenance.fitted_on

    @property
    def chosen_on(self) -> tuple[str, ...]:
        """Splits and subsets on which something of it was chosen."""
        return self.provenance.chosen_on

    def __len__(self) -> int:
        return len(self.utterance_ids)


def write(path: Path, predictions: Predictions) -> None:
    """Write the predictions, sorted by utterance_id.

    Args:
        path: the file
        predictions: of one expert, in any order

    Raises:
        ValueError: a value is not finite, a posterior's row does not sum to 1, or shapes do not fit
    """
    ranks = np.argsort(predictions.utterance_ids.astype(str), kind="stable")
    # sorted already: a view in place of a copy, embeddings of a large corpus are hundreds of MB
    order: np.ndarray | slice = slice(None) if (np.diff(ranks) == 1).all() else ranks
    ids = [str(name) for name in predictions.utterance_ids[order]]
    _parquet.check_ids(path, ids)
    _check(path, predictions)
    columns: dict[str, pa.Array] = {"utterance_id": pa.array(ids, pa.string())}
    for name, dtype in (("posterior", pa.float64()), ("attributes", pa.float64()), ("embedding", pa.float32())):
        values = getattr(predictions, name)
        if values is not None:
            values = np.asarray(values, dtype=dtype.to_pandas_dtype())[order]
            columns[name] = _parquet.matrix(values, values.shape[1], dtype)
    prior = predictions.training_prior
    metadata = {
        "expert": predictions.expert,
        "labels": list(predictions.labels),
        "trained_prior": None if prior is None else [float(p) for p in prior],
        "attribute_names": list(predictions.attribute_names),
        **predictions.provenance.entries(),
        "device": predictions.device,
        "precision": predictions.precision,
    }
    _parquet.write(path, pa.table(columns), "predictions", metadata)


def read(path: Path) -> Predictions:
    """Return the predictions, verified.

    Raises:
        InputError: the file is missing or damaged, or holds numbers that are not predictions
    """
    table, metadata = _parquet.read(path, "predictions")
    arrays = {name: _parquet.to_matrix(table.column(name)) for name in table.column_names if name != "utterance_id"}
    prior = metadata["trained_prior"]
    predictions = Predictions(
        utterance_ids=np.array(table.column("utterance_id").to_pylist(), dtype=object),
        expert=metadata["expert"],
        labels=tuple(metadata["labels"]),
        training_prior=None if prior is None else np.array(prior, dtype=np.float64),
        attribute_names=tuple(metadata["attribute_names"]),
        provenance=Provenance.of(metadata, metadata["expert"]),
        device=metadata.get("device"),
        precision=metadata.get("precision"),
        **arrays,
    )
    try:
        _check(path, predictions)
    except ValueError as error:
        raise InputError(str(error)) from None
    return predictions


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata alone, verified; no row is read.

    Raises:
        InputError: the file is missing, damaged or no table of predictions
    """
    return _parquet.read_metadata(path, "predictions")


def stack(experts: Sequence[Predictions], ids: Sequence[str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the experts' posteriors and attributes, stacked, NaN rows where an expert lacks an utterance.

    Args:
        experts: in the order of the first axis; all with the same labels and attribute names
        ids: utterances, in the order of the second axis

    Returns:
        posteriors, shape ``(n_experts, n, n_labels)``, None where no expert has any; and attributes, shape
        ``(n_experts, n, n_attributes)``, None likewise

    Raises:
        InputError: two experts differ in labels or attribute names
    """
    first = experts[0]
    for other in experts[1:]:
        for name in ("labels", "attribute_names"):
            one, two = getattr(first, name), getattr(other, name)
            if one and two and one != two:
                raise InputError(f"experts {first.expert!r} and {other.expert!r} differ in {name}: {one} and {two}")
    posteriors = [_at(expert, expert.posterior, ids) for expert in experts]
    attributes = [_at(expert, expert.attributes, ids) for expert in experts]
    return _stacked(posteriors), _stacked(attributes)


def _at(expert: Predictions, values: np.ndarray | None, ids: Sequence[str]) -> np.ndarray | None:
    if values is None:
        return None
    rows = {name: i for i, name in enumerate(expert.utterance_ids)}
    aligned = np.full((len(ids), values.shape[1]), np.nan)
    for i, name in enumerate(ids):
        if name in rows:
            aligned[i] = values[rows[name]]
    return aligned


def _stacked(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return the parts stacked along a new first axis; an expert without the output is NaN."""
    present = next((part for part in parts if part is not None), None)
    if present is None:
        return None
    return np.stack([np.full_like(present, np.nan) if part is None else part for part in parts])


def _check(path: Path, predictions: Predictions) -> None:
    ids, n = predictions.utterance_ids, len(predictions)
    expected = {
        "posterior": len(predictions.labels),
        "attributes": len(predictions.attribute_names),
        "embedding": None,
    }
    for name, width in expected.items():
        values = getattr(predictions, name)
        if values is None:
            continue
        if values.ndim != 2 or len(values) != n or (width is not None and values.shape[1] != width):
            raise ValueError(f"{path}: {name} has shape {values.shape}, expected ({n}, {width or 'width'})")
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise ValueError(f"{path}: {name} of {ids[bad[0]]!r} is not finite ({len(bad)} rows; did a loss diverge?)")
    if predictions.posterior is not None:
        sums = predictions.posterior.sum(axis=1)
        off = np.flatnonzero((np.abs(sums - 1) > SUM_TOLERANCE) | (predictions.posterior < 0).any(axis=1))
        if len(off):
            row = off[0]
            raise ValueError(
                f"{path}: posterior of {ids[row]!r} sums to {sums[row]:.6f} with smallest value"
                f" {predictions.posterior[row].min():.6f}, not 1"
                " (were logits written in place of probabilities?)"
            )
