"""data/manifest.parquet: utterances with recording, speaker, labels and split; and the quarantine beside it.

A row is an utterance. ``audio`` is relative to the corpus's root, which is not part of the table: the same corpus in
another folder gives the same bytes. ``audio_sha256`` makes a recording replaced under its path change what follows.
``start_s`` and ``end_s`` name the part of the recording that is the utterance, null where it is the whole. A row
without a usable recording has text alone: ``audio``, ``audio_sha256`` and ``duration_s`` are then null. ``dialogue``
and ``turn`` are in the file where the corpus has dialogues, and null in memory elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, indices
from pipeline_lib.tables import _parquet

SCHEMA = pa.schema(
    [
        ("utterance_id", pa.string()),
        ("audio", pa.string()),
        ("audio_sha256", pa.string()),
        ("start_s", pa.float64()),  # the utterance's part of the recording; null: from its beginning, to its end
        ("end_s", pa.float64()),
        ("video", pa.string()),
        ("duration_s", pa.float64()),
        ("split", pa.string()),
        ("subsets", pa.list_(pa.string())),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("emotion", pa.string()),
        ("votes", pa.string()),  # a JSON object, keys sorted: label -> count
        ("arousal", pa.float64()),
        ("valence", pa.float64()),
        ("dominance", pa.float64()),
        ("reference_text", pa.string()),
        ("dialogue", pa.string()),
        ("turn", pa.int64()),  # its order within the dialogue
    ]
)
OPTIONAL = ("dialogue", "turn")  # columns that are left out of the file where no utterance has a value
QUARANTINE = pa.schema([(name, pa.string()) for name in ("utterance_id", "file", "stage", "reason")])


@dataclass(frozen=True)
class Manifest:
    """The utterances of a corpus.

    Attributes:
        frame: one row an utterance, sorted by utterance_id, columns of ``SCHEMA``
        corpus: its name
        notice: a sentence shown with all scores of the corpus, may be empty
        labels: scored emotions in order, without O and X
        attribute_scale: lowest and highest value of arousal, valence and dominance
        names_in_corpus: of the view of a fold, what its splits and subsets are called in the corpus
    """

    frame: pd.DataFrame
    corpus: str
    labels: tuple[str, ...]
    attribute_scale: tuple[float, float] = (1.0, 7.0)
    notice: str = ""
    names_in_corpus: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def has_audio(self) -> np.ndarray:
        """Which utterances have a recording, bool, shape ``(n,)``."""
        return self.frame["audio"].notna().to_numpy(dtype=bool)

    @property
    def ids(self) -> np.ndarray:
        """Utterance identifiers, shape ``(n,)``."""
        return self.frame["utterance_id"].to_numpy(dtype=object)

    def mask(self, name: str) -> np.ndarray:
        """Return which rows are in the split or subset of that name, bool, shape ``(n,)``.

        Raises:
            InputError: there is no such split or subset
        """
        splits = self.frame["split"].to_numpy(dtype=object)
        if name in splits:
            return splits == name
        inside = np.array([name in subsets for subsets in self.frame["subsets"]], dtype=bool)
        if not inside.any():
            known = sorted({*splits, *(subset for subsets in self.frame["subsets"] for subset in subsets)})
            raise InputError(f"the manifest has no split or subset {name!r}, it has {known}")
        return inside

    def own_names(self, name: str) -> tuple[str, ...]:
        """Return what a split or subset is called in the corpus; of the view of a fold, the parts that hold it."""
        return self.names_in_corpus.get(name, (name,))

    def truth(self, labels: Sequence[str] | None = None) -> np.ndarray:
        """Return label indices, shape ``(n,)``; -1 where the emotion is missing or not among ``labels``.

        For scores: nothing is recorded. What is fitted or chosen reads labels by ``tables.truth.labels_of``.
        """
        return indices(self.frame["emotion"].tolist(), self.labels if labels is None else labels)

    def attributes(self, names: Sequence[str] = ATTRIBUTES) -> np.ndarray:
        """Return attribute values on the corpus's scale, float64, shape ``(n, n_names)``, NaN where missing.

        For scores, as ``truth``.
        """
        return self.frame[list(names)].to_numpy(dtype=np.float64)


def write(path: Path, manifest: Manifest) -> None:
    """Write the manifest, sorted by utterance_id.

    Args:
        path: the file
        manifest: utterances in any order; a column of ``SCHEMA`` that its frame lacks is null

    Raises:
        ValueError: an identifier twice
    """
    frame = manifest.frame.sort_values("utterance_id", kind="stable").reset_index(drop=True)
    _parquet.check_ids(path, frame["utterance_id"].tolist())
    fields, columns = [], []
    for each in SCHEMA:
        values: list[Any] = [_plain(value) for value in frame[each.name]] if each.name in frame else [None] * len(frame)
        if each.name == "votes":
            values = [None if v is None else json.dumps({k: int(v[k]) for k in sorted(v)}) for v in values]
        if each.name not in OPTIONAL or any(value is not None for value in values):
            fields.append(each)
            columns.append(pa.array(values, type=each.type))
    metadata = {
        "corpus": manifest.corpus,
        "notice": manifest.notice,
        "labels": list(manifest.labels),
        "attribute_scale": list(manifest.attribute_scale),
    }
    _parquet.write(path, pa.Table.from_arrays(columns, schema=pa.schema(fields)), "manifest", metadata)


def read(path: Path) -> Manifest:
    """Return the manifest, verified.

    Raises:
        InputError: see ``_parquet.read``
    """
    table, metadata = _parquet.read(path, "manifest")
    data = {}
    for name in table.column_names:
        values = _values(table.column(name))
        table = table.drop_columns(name)  # a large corpus is not held twice
        if name == "votes":
            counted = {text: json.loads(text) for text in set(values) - {None}}
            values = [None if text is None else copy(counted[text]) for text in values]
        data[name] = pd.Series(values, dtype=_dtype(name))
    pa.default_memory_pool().release_unused()
    absent = {name: pd.Series([None] * len(data["utterance_id"]), dtype="object") for name in OPTIONAL}
    frame = pd.DataFrame(data | {name: column for name, column in absent.items() if name not in data})
    low, high = metadata["attribute_scale"]
    return Manifest(frame, metadata["corpus"], tuple(metadata["labels"]), (low, high), metadata["notice"])


def write_quarantine(path: Path, rows: pd.DataFrame) -> None:
    """Write rejected items, sorted.

    Args:
        path: the file
        rows: utterance_id or file, the stage that rejected it, and the reason
    """
    order = rows.reindex(columns=QUARANTINE.names).astype(object)
    order = order.where(order.notna(), None).sort_values(["utterance_id", "file", "reason"], kind="stable")
    table = pa.table({name: pa.array(order[name].tolist(), type=pa.string()) for name in QUARANTINE.names})
    _parquet.write(path, table, "quarantine", {})


def keep(manifest: Manifest, rows: np.ndarray) -> Manifest:
    """Return the manifest with only the rows of the mask.

    Args:
        manifest: of n utterances
        rows: bool, shape ``(n,)``
    """
    return replace(manifest, frame=manifest.frame[rows].reset_index(drop=True))


def _values(column: pa.ChunkedArray) -> list | np.ndarray:
    """Return Python objects, equal strings being one object, or numbers with NaN where they are missing."""
    if pa.types.is_floating(column.type):
        return column.to_numpy()
    if not pa.types.is_string(column.type):
        return column.to_pylist()
    seen: dict[str | None, str | None] = {}
    return [seen.setdefault(value, value) for chunk in column.chunks for value in chunk.to_pylist()]


def _dtype(name: str) -> str:
    return "float64" if pa.types.is_floating(SCHEMA.field(name).type) else "object"


def _plain(value: object) -> object:
    """Return None for every kind of missing value, Python's own types for NumPy's."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, (list, tuple, dict)):
        return value
    return None if pd.isna(value) else value
