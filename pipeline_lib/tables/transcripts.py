"""data/transcripts.parquet: ASR transcripts, one text an utterance; empty is allowed, missing is not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_lib.errors import InputError
from pipeline_lib.tables import _parquet
from pipeline_lib.tables.origin import NO_MODEL, Origin


@dataclass(frozen=True)
class Transcripts:
    """ASR transcripts.

    Attributes:
        utterance_ids: shape ``(n,)``, sorted and unique
        texts: one an utterance, "" where nothing was recognised
        engine: kind of the recogniser
        checkpoint: its name or path
        decoding: its options
        device: kind of device that it ran on, None for reference transcripts and in files of older code
        precision: of its forward pass, None likewise
    """

    utterance_ids: np.ndarray
    texts: list[str]
    engine: str
    checkpoint: str
    decoding: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    precision: str | None = None

    def aligned(self, ids: Sequence[str]) -> list[str]:
        """Return the texts of these utterances, in their order.

        Raises:
            InputError: an utterance has no transcript
        """
        known = dict(zip(self.utterance_ids, self.texts, strict=True))
        missing = [name for name in ids if name not in known]
        if missing:
            first = f"{missing[0]!r} first (was the corpus changed since?)"
            raise InputError(f"{len(missing)} utterances have no transcript, {first}")
        return [known[name] for name in ids]


def write(
    path: Path,
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    engine: str,
    checkpoint: str,
    decoding: Mapping[str, Any],
    origin: Origin = NO_MODEL,
) -> None:
    """Write one text an utterance, sorted by utterance_id.

    Args:
        path: the file
        ids: utterance identifiers, in any order
        texts: one an utterance, in the order of ``ids``
        engine: kind of the recogniser
        checkpoint: its name or path
        decoding: its options, what JSON can hold
        origin: device and precision of the recogniser

    Raises:
        ValueError: an identifier twice, or a text that is None
    """
    if any(text is None for text in texts):
        raise ValueError(f"{path}: a transcript is None; an utterance without recognised speech has the text ''")
    order = sorted(range(len(ids)), key=lambda i: ids[i])
    ordered = [str(ids[i]) for i in order]
    _parquet.check_ids(path, ordered)
    columns = {"utterance_id": pa.array(ordered, pa.string()), "text": pa.array([texts[i] for i in order], pa.string())}
    metadata = {"engine": engine, "checkpoint": checkpoint, "decoding": dict(decoding), **asdict(origin)}
    _parquet.write(path, pa.table(columns), "transcripts", metadata)


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata alone, verified; no row is read.

    Raises:
        InputError: the file is missing, damaged or no table of transcripts
    """
    return _parquet.read_metadata(path, "transcripts")


def read(path: Path) -> Transcripts:
    """Return the transcripts, verified.

    Raises:
        InputError: the file is missing or damaged
    """
    table, metadata = _parquet.read(path, "transcripts")
    ids = np.array(table.column("utterance_id").to_pylist(), dtype=object)
    return Transcripts(
        ids,
        table.column("text").to_pylist(),
        metadata["engine"],
        metadata["checkpoint"],
        metadata["decoding"],
        metadata.get("device"),
        metadata.get("precision"),
    )
