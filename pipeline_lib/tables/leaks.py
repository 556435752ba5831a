"""data/leaks.parquet: pairs of utterances that tell one split, or fold, about another; and the corpus's protocol.

A row names an utterance, the one of an earlier side that it repeats, and in what. An utterance stands once for each
earlier side, with the strongest of ``KINDS``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline_lib.tables import _parquet

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("utterance_id", pa.string()),
        ("split", pa.string()),  # or the fold that tests it
        ("other_utterance_id", pa.string()),
        ("other_split", pa.string()),
        ("bit_errors", pa.float64()),  # of the fingerprints, null of other kinds
    ]
)
KINDS = {
    "bytes": "have the same bytes as one",
    "samples": "have the same samples as one, in another file,",
    "sound": "are recordings in another encoding",
    "text": "have the same text of six words or more as one",
    "speaker": "are of a speaker whose name differs in capitals, blanks, dashes or zeros only from one",
}  # the strongest first


@dataclass(frozen=True)
class Leak:
    """An utterance that repeats one of another split; see ``SCHEMA``."""

    kind: str
    utterance_id: str
    split: str
    other_utterance_id: str
    other_split: str
    bit_errors: float | None = None


@dataclass(frozen=True)
class Leaks:
    """The leaks of a corpus, and a sentence on what its splits share by design, may be empty."""

    rows: tuple[Leak, ...] = ()
    protocol: str = ""

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each kind that there is, the strongest first."""
        counted = Counter(row.kind for row in self.rows)
        return {kind: counted[kind] for kind in KINDS if kind in counted}

    def sentences(self, kinds: Iterable[str] = KINDS) -> list[str]:
        """Return a sentence for each kind and pair of splits, with the number of utterances and a pair's names.

        Args:
            kinds: those that are counted
        """
        sentences = []
        for kind in kinds:
            rows = [row for row in self.rows if row.kind == kind]
            first = {(row.split, row.other_split): row for row in reversed(rows)}
            for (split, other), n in sorted(Counter((row.split, row.other_split) for row in rows).items()):
                row = first[split, other]
                names = f"{row.utterance_id!r} and {row.other_utterance_id!r}"
                sentences.append(f"{n} utterances of {split} {KINDS[kind]} of {other} (data/leaks.parquet): {names}.")
        return sentences


def write(path: Path, leaks: Leaks) -> None:
    """Write the leaks, sorted by kind and utterance.

    Args:
        path: the file
        leaks: rows in any order, and the protocol
    """
    rows = sorted(leaks.rows, key=lambda row: (row.kind, row.utterance_id, row.other_split, row.other_utterance_id))
    columns = {field.name: pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA}
    _parquet.write(path, pa.table(columns, schema=SCHEMA), "leaks", {"protocol": leaks.protocol})


def read(path: Path) -> Leaks:
    """Return the leaks, verified.

    Raises:
        InputError: see ``_parquet.read``
    """
    table, metadata = _parquet.read(path, "leaks")
    return Leaks(tuple(Leak(**row) for row in table.to_pylist()), metadata["protocol"])
