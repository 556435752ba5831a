"""The Parquet format of every table here: with kind and version, checksummed, atomic, same content same bytes.

Parquet's own checksums cover its pages and neither their headers nor the footer, in which a flipped bit can pass for
another page, type or length. What was read is therefore compared with a digest of every column of every row group.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_lib.errors import InputError
from pipeline_lib.storage import atomic

FORMAT_VERSION = 1
VERSIONS = {"manifest": 2}  # of the tables whose columns have changed since; the others have FORMAT_VERSION
_META = b"ser_pipeline"
_DIGEST = b"ser_pipeline_sha256"  # of the column types and of the metadata
_CONTENT = b"ser_pipeline_content"  # column -> digest of each row group
_GROUP = 1 << 14  # rows of a row group, which a writer holds in memory beside the table


def write(path: Path, table: pa.Table, kind: str, metadata: Mapping[str, Any]) -> None:
    """Write the table atomically; a reader sees the earlier file or the new one.

    Args:
        path: the file; its folder is made
        table: the rows; float16 and float32 columns keep their type
        kind: the table's name ("manifest"), checked when read
        metadata: further metadata, what JSON can hold
    """
    groups = [_digests(table[start : start + _GROUP]) for start in range(0, max(len(table), 1), _GROUP)]
    described = {**_described(table.schema, kind, metadata), _CONTENT: _listed(table.column_names, groups)}
    table = table.replace_schema_metadata(described)
    with atomic.replace_file(path) as file:
        pq.write_table(table, file, _GROUP, compression="zstd", write_page_checksum=True, store_schema=True)


@contextmanager
def stream(path: Path, schema: pa.Schema, kind: str, metadata: Mapping[str, Any], **options: Any) -> Iterator["Writer"]:
    """Yield a writer whose row groups go to disk one by one; on leaving the file is synced and renamed into place.

    Args:
        path: see ``write``
        schema: of every table that the writer gets
        kind: see ``write``
        metadata: see ``write``
        options: of ParquetWriter, beyond compression and page checksums
    """
    schema = schema.with_metadata(_described(schema, kind, metadata))
    with (
        atomic.replace_file(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True, **options) as writer,
    ):
        wrapped = Writer(writer, schema)
        yield wrapped
        writer.add_key_value_metadata({_CONTENT: _listed(schema.names, wrapped.groups)})


class Writer:
    """Writes row groups, and collects their digests.

    Args:
        writer: of the open file
        schema: of every table, with the file's metadata
    """

    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self.schema = writer, schema
        self.groups: list[dict[str, str]] = []

    def write_table(self, table: pa.Table) -> None:
        """Write the rows, in groups of at most 16,384."""
        for start in range(0, len(table), _GROUP):
            group = table[start : start + _GROUP]
            self._writer.write_table(group, _GROUP)
            self.groups.append(_digests(group))


def read(path: Path, kind: str, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """Return the table and its metadata, verified.

    Args:
        path: the file
        kind: the table's name, which the file must have
        columns: names of the columns to read; None reads all

    Raises:
        InputError: the file is missing, damaged, of another kind or of another format version
    """
    with _opened(path, kind) as (file, metadata, listed):
        groups = [_group(path, file, number, listed, columns) for number in range(file.num_row_groups)]
        schema = file.schema_arrow if columns is None else pa.schema([file.schema_arrow.field(c) for c in columns])
    return pa.concat_tables([schema.empty_table(), *groups]), metadata


def read_metadata(path: Path, kind: str) -> dict[str, Any]:
    """Return the table's metadata, verified, without reading a row.

    Args:
        path: the file
        kind: the table's name, which the file must have

    Raises:
        InputError: see ``read``
    """
    with _opened(path, kind) as (_, metadata, _):
        return metadata


def iter_groups(path: Path, kind: str) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
    """Yield each row group and the table's metadata, verified, one in memory at a time.

    Args:
        path: the file
        kind: the table's name, which the file must have

    Raises:
        InputError: see ``read``
    """
    with _opened(path, kind) as (file, metadata, listed):
        for number in range(file.num_row_groups):
            yield _group(path, file, number, listed, None), metadata


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[pq.ParquetFile, dict[str, Any], dict[str, list[str]]]]:
    """Open a table and verify its metadata; yield the file, the metadata and the digests of each column."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; the stage that writes it has not run (dvc repro)")
    with _as_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema, footer = file.schema_arrow, file.metadata.metadata or {}
        stored = (schema.metadata or {}).get(_META, b"null")
        metadata = json.loads(stored)
        if not isinstance(metadata, dict) or metadata.get("kind") != kind:
            actual = metadata.get("kind") if isinstance(metadata, dict) else "a Parquet file of another program"
            raise InputError(f"{path} holds {actual!r}, expected {kind!r}")
        version, expected = metadata.get("format_version"), VERSIONS.get(kind, FORMAT_VERSION)
        if version != expected:
            raise InputError(
                f"{path} has format version {version}, this code reads {expected}; run its stage again (dvc repro)"
            )
        listed = json.loads(footer.get(_CONTENT, b"null"))
        complete = isinstance(listed, dict) and all(len(groups) == file.num_row_groups for groups in listed.values())
        if schema.metadata.get(_DIGEST) != _digest(schema, stored) or not complete or {*listed} != {*schema.names}:
            raise InputError(f"{path} has other metadata than were written (damaged, or of older code?)")
        yield file, metadata, listed


def _group(
    path: Path, file: pq.ParquetFile, number: int, listed: Mapping[str, list[str]], columns: Sequence[str] | None
) -> pa.Table:
    """Return a row group, verified."""
    with _as_damage(path):
        table = file.read_row_group(number, columns=None if columns is None else list(columns))
        damaged = [name for name, digest in _digests(table).items() if digest != listed[name][number]]
    if damaged or (columns is None and table.column_names != file.schema_arrow.names):
        raise InputError(
            f"{path} cannot be read as Parquet: column {damaged} does not match its checksum (was it damaged?)"
        )
    return table


@contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    """Turn errors of Arrow, JSON and Unicode over damaged bytes into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read as Parquet: {first} (was it damaged or cut short?)") from None


def _described(schema: pa.Schema, kind: str, metadata: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the file's metadata with their checksum: Parquet has one for its pages, none for its footer."""
    version = VERSIONS.get(kind, FORMAT_VERSION)
    stored = json.dumps({"kind": kind, "format_version": version, **metadata}, sort_keys=True).encode()
    return {_META: stored, _DIGEST: _digest(schema, stored)}


def _digest(schema: pa.Schema, metadata: bytes) -> bytes:
    columns = "\n".join(f"{field.name}: {field.type}" for field in schema).replace(
        "<item: ", "<element: "
    )  # Parquet's word
    return hashlib.sha256(columns.encode() + b"\n" + metadata).hexdigest().encode()


def _listed(names: Sequence[str], groups: Sequence[Mapping[str, str]]) -> bytes:
    return json.dumps({name: [group[name] for group in groups] for name in names}, sort_keys=True).encode()


def _digests(table: pa.Table) -> dict[str, str]:
    """Return a digest of each column's values, independent of their chunks."""
    digests = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest = hashlib.sha256()
        joined = column.combine_chunks()
        _feed(digest, pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined)
        digests[name] = digest.hexdigest()[:32]
    return digests


def _feed(digest: Any, array: pa.Array) -> None:
    """Update the digest with the number of values, which are null, their lengths and their bytes."""
    digest.update(f"{len(array)} ".encode())
    digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    array = array.drop_null()
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        digest.update(pc.list_value_length(array).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
        _feed(digest, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        digest.update(pc.binary_length(array).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
        wide = array.cast(pa.large_string() if not pa.types.is_binary(kind) else pa.large_binary())
        _, offsets, data = wide.buffers()
        if data is not None and len(wide):
            ends = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
            digest.update(memoryview(data)[ends[0] : ends[-1]])
    else:
        digest.update(array.to_numpy(zero_copy_only=False).tobytes())


def check_ids(path: Path, ids: Sequence[str]) -> None:
    """Refuse identifiers that are not sorted and unique.

    Args:
        path: of the table, for the message
        ids: utterance identifiers, in the order of the rows

    Raises:
        ValueError: the first identifier out of order
    """
    for before, after in zip(ids, ids[1:], strict=False):
        if before >= after:
            defect = "appears twice" if before == after else f"comes after {before!r}"
            raise ValueError(f"{path}: utterance_id {after!r} {defect}; rows are sorted by utterance_id and unique")


def matrix(values: np.ndarray, width: int, dtype: pa.DataType) -> pa.FixedSizeListArray:
    """Return an array as one fixed-size-list column.

    Args:
        values: shape ``(n, width)``
        width: values a row
        dtype: of the column's values
    """
    flat = pa.array(values.reshape(-1), type=dtype)
    return pa.FixedSizeListArray.from_arrays(flat, width)


def to_matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Return a fixed-size-list column as an array of shape ``(n, width)``."""
    joined = column.combine_chunks()
    chunk = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    return chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), chunk.type.list_size)
