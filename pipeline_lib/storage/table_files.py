"""The rows of a table, CSV or Parquet, as text by column; bounded before and while they are read.

A Parquet file of some kilobytes can stand for billions of rows or letters. Its rows and values are counted from the
metadata first; texts are read as dictionaries, which cost what the file stores, and turned into text a row at a time.
"""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.errors import InputError
from pipeline_lib.storage import cell_text, csv_files
from pipeline_lib.storage.csv_files import MAX_BYTES, MAX_CELL, MAX_ROWS

BATCH = 4096  # rows
MAX_VALUES = 16 * MAX_ROWS  # of a column of lists
Rows = Iterator[tuple[str, dict[str, str]]]


def header(path: Path, key: str = "audio") -> list[str]:
    """Return the names of the table's columns.

    Args:
        path: the table
        key: a column that a table must have, for the message about one that has a single column of another name

    Raises:
        InputError: the file cannot be read, has no header, twice the same name, or more rows than ``MAX_ROWS``
    """
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as file:
            names = file.schema_arrow.names
            n = max(file.metadata.num_rows, sum(_groups(file, "num_rows")))
        if n > MAX_ROWS:
            raise InputError(f"{path} has {n:,} rows, expected at most {MAX_ROWS:,}")
        csv_files.check_header(path, names, [])
        return names
    names = csv_files.csv_header(path)
    csv_files.check_header(path, names, [key] if len(names) < 2 else [])  # one column: another separator?
    return names


def rows(path: Path, names: Sequence[str]) -> Rows:
    """Yield the location of each row (``corpus.csv, line 7``) and its cells, "" where one is empty.

    Args:
        path: the table
        names: columns to read

    Raises:
        InputError: see ``csv_files.csv_rows``; of Parquet also bytes in place of text, or more than the bounds
    """
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path, names)
        return
    for where, cells in csv_files.csv_rows(path, []):
        yield where, {name: cells[name] for name in names}


def _parquet(path: Path, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, read_dictionary=list(dictionaries))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _groups(file: pq.ParquetFile, what: str) -> Iterator[int]:
    return (getattr(file.metadata.row_group(i), what) for i in range(file.metadata.num_row_groups))


def _parquet_rows(path: Path, names: Sequence[str]) -> Rows:
    with _parquet(path) as file:
        _check_types(path, file.schema_arrow, names)
        texts = _check_sizes(path, file, names)
    row = letters = 0
    with _parquet(path, texts) as file:
        try:
            for batch in file.iter_batches(BATCH, columns=list(names)):
                columns = [batch.column(batch.schema.get_field_index(name)) for name in names]
                for i in range(batch.num_rows):
                    row += 1
                    where = f"{path}, row {row}"
                    if row > MAX_ROWS:
                        raise InputError(f"{path} has more than {MAX_ROWS:,} rows, expected at most that many")
                    cells = {name: _cell(where, name, column, i) for name, column in zip(names, columns)}
                    letters += sum(map(len, cells.values()))
                    if letters > MAX_BYTES:
                        raise InputError(f"{where}: more than {MAX_BYTES:,} letters up to here, expected fewer in all")
                    yield where, cells
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _check_sizes(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> list[str]:
    """Refuse columns beyond the bounds, by the metadata; return those of text, nested ones by their full names."""
    texts = []
    for i in range(file.metadata.num_columns):
        leaf = file.metadata.schema.column(i)
        name = leaf.path.partition(".")[0]
        if name not in names and leaf.path not in names:
            continue
        chunks = [file.metadata.row_group(group).column(i) for group in range(file.metadata.num_row_groups)]
        size, n = sum(c.total_uncompressed_size for c in chunks), sum(c.num_values for c in chunks)
        if size > MAX_BYTES or n > MAX_VALUES:
            raise InputError(
                f"{path}: column {name!r} holds {n:,} values in {size:,} bytes, expected at most {MAX_VALUES:,} in"
                f" {MAX_BYTES:,}"
            )
        if leaf.physical_type == "BYTE_ARRAY":
            texts.append(leaf.path)
    return texts


def _check_types(path: Path, schema: pa.Schema, names: Sequence[str]) -> None:
    for field in (field for field in schema if field.name in names):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or (field.name == "audio" and not (text or pa.types.is_null(kind)))
        ):
            raise InputError(f"{path}: column {field.name!r} holds {field.type}, expected text")


def _cell(where: str, name: str, column: pa.Array, i: int) -> str:
    scalar = column[i]
    if isinstance(scalar, pa.ListScalar) and scalar.is_valid and len(scalar.values) > MAX_CELL // 16:
        raise InputError(f"{where}: {name} has {len(scalar.values):,} values, expected at most {MAX_CELL // 16:,}")
    text = _text(scalar.as_py())
    if len(text) > MAX_CELL:
        raise InputError(f"{where}: {name} has {len(text):,} letters, expected at most {MAX_CELL:,}")
    return text


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, dict):
        return json.dumps({k: v for k, v in value.items() if v is not None})
    if isinstance(value, list):  # a map comes as pairs
        return json.dumps(dict(value)) if value and isinstance(value[0], tuple) else ";".join(map(str, value))
    return cell_text.stripped(str(value))
