"""Origin of an artifact: the kind of device and the precision of the forward passes that made it.

A shard carries it in the metadata of its table, so that what workers on other machines computed, and what an earlier
run left unfinished, is known to the stage that puts the shards together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SEPARATOR = ", "  # between the origins of an artifact whose shards differ


@dataclass(frozen=True)
class Origin:
    """Device and precision; None where no model was involved, or where the file is older than this entry.

    Attributes:
        device: cpu, cuda or mps
        precision: of weights and products: "float32", "bfloat16", "nf4", "float32 under bfloat16 autocast"
    """

    device: str | None = None
    precision: str | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "Origin":
        """Return the origin that an artifact's metadata hold; without entries of its own, as of older code, none."""
        device, precision = metadata.get("device"), metadata.get("precision")
        return cls(device if isinstance(device, str) else None, precision if isinstance(precision, str) else None)

    def mark(self, table: pa.Table) -> pa.Table:
        """Return a shard's table with this origin in its metadata."""
        named = {"device": self.device, "precision": self.precision}
        return table.replace_schema_metadata({name: value for name, value in named.items() if value is not None})


NO_MODEL = Origin()


class Origins:
    """Collect the origins of shards while they are read."""

    def __init__(self) -> None:
        """Begin without any."""
        self._devices: set[str] = set()
        self._precisions: set[str] = set()

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield each table after its origin is noted."""
        for table in tables:
            metadata = table.schema.metadata or {}
            for key, values in ((b"device", self._devices), (b"precision", self._precisions)):
                if key in metadata:
                    values.add(metadata[key].decode())
            yield table

    @property
    def joined(self) -> Origin:
        """The origin of all together; different ones sorted, with ``SEPARATOR`` between."""
        return Origin(join(self._devices), join(self._precisions))


def join(values: Iterable[str]) -> str | None:
    """Return devices or precisions as one entry, sorted, each once; None where there are none."""
    return SEPARATOR.join(sorted(set(values))) or None
