"""Text files and CSV tables: bounds on bytes, rows and cells, line numbers for messages."""

import codecs
import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.storage import cell_text

MAX_BYTES = 1 << 30  # of a text file
MAX_ROWS = 2_000_000  # of a table: some 5 GB of memory (2.5 kB a row)
MAX_CELL = 1 << 20  # letters
MAX_LINE = 1 << 24  # letters
LATIN = "cp1252 or Latin-1? save it as UTF-8"
CAUSES = {
    b"\xff\xfe": "UTF-16? save it as UTF-8",
    b"\xfe\xff": "UTF-16? save it as UTF-8",
    b"PK\3\4": "a workbook or a ZIP archive? save the sheet as CSV, or unpack it",
    b"PAR1": "Parquet? its name must end in .parquet",
    b"\x1f\x8b": "gzip? unpack it",
    b"\xd0\xcf\x11\xe0": "a workbook? save the sheet as CSV",
}  # first bytes of a file -> its probable kind
csv.field_size_limit(MAX_CELL)


def lines(path: Path) -> list[str]:
    """Return a text file's lines, UTF-8 with or without a byte-order mark.

    Raises:
        InputError: the file is missing, too large, or not UTF-8
    """
    check_utf8(path)
    text = path.read_text(encoding="utf-8-sig")
    return text.removesuffix("\n").split("\n") if text else []


def check_utf8(path: Path) -> None:
    """Refuse a file that is missing, larger than ``MAX_BYTES``, or not UTF-8; it is read in blocks.

    Raises:
        InputError: the file is missing, too large, not UTF-8, or cannot be read
    """
    decoder, done = codecs.getincrementaldecoder("utf-8")(), 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise InputError(f"{path} has {size:,} bytes, expected at most {MAX_BYTES:,}")
            while block := file.read(1 << 20):
                pending = len(decoder.getstate()[0])
                decoder.decode(block)
                done += len(block)
            pending, block = len(decoder.getstate()[0]), b""
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        position = done - pending + error.start
        with path.open("rb") as file:
            head = file.read(8)
        cause = next((cause for begin, cause in CAUSES.items() if head.startswith(begin)), LATIN)
        raise InputError(
            f"{path} is not UTF-8: byte {position} is 0x{error.object[error.start]:02x} ({cause})"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def csv_header(path: Path, delimiter: str = ",") -> list[str]:
    """Return the names of the columns, "" for those without one.

    Args:
        path: the file
        delimiter: between cells

    Raises:
        InputError: the file is missing, too large, not UTF-8 or not CSV
    """
    with _csv(path, delimiter) as reader:
        return [name.strip() for name in next(reader, [])]


def csv_rows(
    path: Path,
    expected: Sequence[str],
    delimiter: str = ",",
    malformed: Callable[[str, InputError], None] | None = None,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the location of each row (``labels.csv, line 7``) and its cells by column, blanks around them removed.

    Columns without a name are left out if they are empty, as a spreadsheet leaves them, or number the rows.

    Args:
        path: the file
        expected: columns that it must have
        delimiter: between cells
        malformed: called with location and error of a row of one line that cannot be read; None: such a row stops

    Raises:
        InputError: the file is missing or too large, an expected column is missing, a column without a name holds
            something, or a row has another number of cells than the header
    """
    with _csv(path, delimiter) as reader:
        header = [name.strip() for name in next(reader, [])]
        check_header(path, header, expected, delimiter)
        named = [bool(name) or ("" in expected and i == header.index("")) for i, name in enumerate(header)]
        n = 0
        while True:
            start = reader.line_num + 1
            where = f"{path}, line {start}"
            try:
                cells = _cells(path, reader, start)
                if cells is None:
                    return
                if any(cells):
                    _check_cells(where, cells, named)
            except InputError as error:
                if malformed is None or reader.line_num != start:  # of several lines: a quote swallowed other rows
                    raise
                malformed(where, error)
                continue
            if not any(cells):
                continue
            n += 1
            if n > MAX_ROWS:
                raise InputError(f"{path} has more than {MAX_ROWS:,} rows, expected at most that many")
            yield where, {name: cell for name, cell, read in zip(header, cells, named, strict=False) if read}


def _cells(path: Path, reader: Any, start: int) -> list[str] | None:
    """Return the next row's cells, None behind the last; after an error the reader goes on with the next line."""
    try:
        cells = next(reader, None)
    except csv.Error as error:
        quote = f" (is a quote of line {start} not closed?)" if reader.line_num > start else ""
        raise InputError(f"{path}, line {reader.line_num}: not CSV: {error}{quote}") from None
    return None if cells is None else [cell_text.stripped(cell) for cell in cells]


@contextmanager
def _csv(path: Path, delimiter: str) -> Iterator[Any]:
    check_utf8(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(iter(lambda: file.readline(MAX_LINE), ""), delimiter=delimiter, strict=True)
        try:
            yield reader
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def _check_cells(where: str, cells: Sequence[str], named: Sequence[bool]) -> None:
    """Refuse a row that has more cells with content than columns with names, or lacks cells of these."""
    if any(cells[len(named) :]) or any(named[len(cells) :]):
        raise InputError(f"{where}: {len(cells)} cells, the header has {len(named)} (a comma in an unquoted text?)")
    for i, (cell, has_name) in enumerate(zip(cells, named, strict=False)):
        if cell and not has_name and not (i == 0 and cell.isdecimal()):
            raise InputError(
                f"{where}: column {i + 1} has no name and holds {cell[:80]!r}; name it in the header, or empty it"
            )


def check_header(path: Path, header: Sequence[str], expected: Sequence[str], delimiter: str = ",") -> None:
    """Refuse a header without the expected columns.

    Args:
        path: the file, for messages
        header: names of its columns
        expected: columns that it must have
        delimiter: between cells

    Raises:
        InputError: empty, twice the same name, another separator, or a column missing, with the nearest name
    """
    if not any(header):
        raise InputError(f"{path} is empty, expected a header with the columns {list(expected)}")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {twice} twice")
    if header[0].startswith("version https://git-lfs"):
        raise InputError(f"{path} is a pointer of Git LFS, expected the table itself (git lfs pull)")
    if header[0].lower() == "sep=":
        raise InputError(f"{path} begins with the line sep=, which spreadsheets write; expected the header, remove it")
    for name in expected:
        if name in header:
            continue
        others = [other for other in (",", ";", "\t") if other != delimiter and other in header[0]]
        if len(header) == 1 and others:
            raise InputError(f"{path}: cells are separated by {others[0]!r}, expected {delimiter!r}")
        near = get_close_matches(name, header, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{path} has no column {name!r}{meant}; its columns are {list(header)}")
