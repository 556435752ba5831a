"""Parquet as every table here is kept: with kind and version, checksummed, atomic, same content same bytes."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.errors import InputError

FORMAT_VERSION = 1
_META = b"ser_pipeline"
_DIGEST = b"ser_pipeline_sha256"  # of the columns and of what the table says of itself


def write(path: Path, table: pa.Table, kind: str, metadata: Mapping[str, Any]) -> None:
    """Write the table through a temporary file, fsync and rename; a reader sees the old file or the new one.

    Args:
        path: where to; its folder is made
        table: what to write; float16 and float32 columns are kept as they are
        kind: the table's name ("manifest"), checked when read
        metadata: what else the table says of itself, JSON
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata(_described(table.schema, kind, metadata))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True, store_schema=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def stream(
    path: Path, schema: pa.Schema, kind: str, metadata: Mapping[str, Any], **options: Any
) -> Iterator[pq.ParquetWriter]:
    """Yield a writer whose row groups go to disk one by one; on leaving the file is fsynced and renamed into place.

    Args:
        path: see ``write``
        schema: of every table that is written
        kind: see ``write``
        metadata: see ``write``
        options: of ParquetWriter, beyond compression and page checksums
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = schema.with_metadata(_described(schema, kind, metadata))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True, **options) as writer:
                yield writer
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path, kind: str, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table and its metadata, page checksums verified.

    Raises:
        InputError: the file is missing, damaged, of another kind or of another format version
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; the stage that writes it has not run (dvc repro)")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            stored = (schema.metadata or {}).get(_META, b"null")
            table = file.read(columns=None if columns is None else list(columns))
        said = json.loads(stored)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as Parquet: {first} (was it damaged or cut short?)") from None
    if not isinstance(said, dict) or said.get("kind") != kind:
        found = said.get("kind") if isinstance(said, dict) else "a Parquet file of another program"
        raise InputError(f"{path} holds {found!r}, wanted {kind!r}")
    if said.get("format_version") != FORMAT_VERSION:
        version = said.get("format_version")
        raise InputError(f"{path} has format version {version}, this code reads {FORMAT_VERSION}; run its stage again")
    if schema.metadata.get(_DIGEST) != _digest(schema, stored):
        raise InputError(f"{path} does not describe itself as it was written (damaged, or of older code?)")
    return table, said


def _described(schema: pa.Schema, kind: str, metadata: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return what the file says of itself, with a checksum: Parquet has one for its pages, none for its footer."""
    said = json.dumps({"kind": kind, "format_version": FORMAT_VERSION, **metadata}, sort_keys=True).encode()
    return {_META: said, _DIGEST: _digest(schema, said)}


def _digest(schema: pa.Schema, said: bytes) -> bytes:
    columns = "\n".join(f"{field.name}: {field.type}" for field in schema).replace(
        "<item: ", "<element: "
    )  # Parquet's word
    return hashlib.sha256(columns.encode() + b"\n" + said).hexdigest().encode()


def check_ids(path: Path, ids: Sequence[str]) -> None:
    """Refuse identifiers that are not sorted and unique.

    Raises:
        ValueError: the first place where the order breaks
    """
    for before, after in zip(ids, ids[1:], strict=False):
        if before >= after:
            said = "appears twice" if before == after else f"comes after {before!r}"
            raise ValueError(f"{path}: utterance_id {after!r} {said}; rows are sorted by utterance_id and unique")


def matrix(values: Any, width: int, dtype: pa.DataType) -> pa.FixedSizeListArray:
    """Return a 2-D array of shape ``(n, width)`` as one fixed-size-list column."""
    flat = pa.array(values.reshape(-1), type=dtype)
    return pa.FixedSizeListArray.from_arrays(flat, width)


def to_matrix(column: pa.ChunkedArray) -> Any:
    """Return a fixed-size-list column as a 2-D array of shape ``(n, width)``."""
    whole = column.combine_chunks()
    chunk = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), chunk.type.list_size)
