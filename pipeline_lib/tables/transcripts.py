"""data/transcripts.parquet: what a machine heard, one text an utterance; empty is allowed, missing is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_lib.errors import InputError
from pipeline_lib.tables import _parquet


@dataclass(frozen=True)
class Transcripts:
    """Texts with where they come from: engine, checkpoint and decoding options."""

    utterance_ids: np.ndarray
    texts: list[str]
    engine: str
    checkpoint: str
    decoding: dict[str, Any] = field(default_factory=dict)

    def aligned(self, ids: Sequence[str]) -> list[str]:
        """Return the texts of these utterances, in their order.

        Raises:
            InputError: an utterance has no transcript
        """
        known = dict(zip(self.utterance_ids, self.texts, strict=True))
        missing = [each for each in ids if each not in known]
        if missing:
            first = f"{missing[0]!r} first (was the corpus changed since?)"
            raise InputError(f"{len(missing)} utterances have no transcript, {first}")
        return [known[each] for each in ids]


def write(
    path: Path, ids: Sequence[str], texts: Sequence[str], *, engine: str, checkpoint: str, decoding: Mapping[str, Any]
) -> None:
    """Write one text an utterance, sorted by utterance_id.

    Raises:
        ValueError: an identifier twice, or a text that is None
    """
    if any(text is None for text in texts):
        raise ValueError(f"{path}: a transcript is None; an utterance in which nothing is heard has the text ''")
    order = sorted(range(len(ids)), key=lambda i: ids[i])
    ordered = [str(ids[i]) for i in order]
    _parquet.check_ids(path, ordered)
    columns = {"utterance_id": pa.array(ordered, pa.string()), "text": pa.array([texts[i] for i in order], pa.string())}
    said = {"engine": engine, "checkpoint": checkpoint, "decoding": dict(decoding)}
    _parquet.write(path, pa.table(columns), "transcripts", said)


def read(path: Path) -> Transcripts:
    """Return the transcripts, verified."""
    table, said = _parquet.read(path, "transcripts")
    ids = np.array(table.column("utterance_id").to_pylist(), dtype=object)
    return Transcripts(ids, table.column("text").to_pylist(), said["engine"], said["checkpoint"], said["decoding"])
