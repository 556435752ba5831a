"""What is to be predicted: recordings that are named on the command line, in folders, in tables, on standard input."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from pipeline_lib.audio.decoding import resolve_under
from pipeline_lib.corpus import layout, table_rows
from pipeline_lib.errors import InputError
from pipeline_lib.storage import table_files

TABLES = (".csv", ".parquet")
STANDARD_INPUT = "-"
ID, AUDIO, START, END = "utterance_id", "audio", "start_s", "end_s"  # columns of a table


@dataclass(frozen=True)
class Input:
    """A recording, or a part of one, as it was named.

    Attributes:
        id: the table's ``utterance_id``, else the name
        recording: name of the recording as it was given, below its folder; "" of a text alone
        path: of the recording, None of a text alone or where ``defect`` is given
        text: the words, None to have them recognised where the system reads any
        start: beginning of the part in seconds, None for the recording's
        end: its end in seconds, None for the recording's
        defect: why the row cannot be predicted, one sentence; None where nothing is known against it
    """

    id: str
    recording: str
    path: Path | None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    defect: str | None = None


def expand(
    targets: Sequence[str],
    standard_input: TextIO,
    text: str | None = None,
    text_column: str | None = None,
    root: Path | None = None,
) -> list[Input]:
    """Return the recordings that targets name, in the order of the targets, of a folder sorted by their paths.

    Args:
        targets: files, folders, tables (``.csv``, ``.parquet``), and ``-`` for names on standard input, one a line
        standard_input: where ``-`` reads; to its end
        text: the words of the one recording, or a text alone where there is no target
        text_column: column of the tables that holds the words
        root: folder that paths of tables start from, None for the table's own

    Raises:
        InputError: nothing is named, a folder has no recording, a table cannot be read or lacks a column, or a text is
            given for several recordings
    """
    inputs: list[Input] = []
    for target in targets:
        names = [line.rstrip("\r\n") for line in standard_input] if target == STANDARD_INPUT else [target]
        for name in filter(None, names):
            inputs += _named(name, text_column, root)
    if text_column is not None and not any(_is_table(Path(name)) for name in targets):
        raise InputError("--text-column names a column of a table, and no target is one; use --text for one recording")
    if text is not None:
        if len(inputs) > 1:
            raise InputError(f"--text is of one recording, here are {len(inputs)}; use a table and --text-column")
        first = inputs[0] if inputs else Input("text", "", None)
        return [Input(first.id, first.recording, first.path, text, first.start, first.end, first.defect)]
    if not inputs:
        raise InputError("no recording is named; expected files, folders, tables, - for names on standard input")
    return inputs


def digest(inputs: Sequence[Input]) -> str:
    """Return a SHA-256 of names, texts and times, and of the files' sizes and times of change."""
    total = hashlib.sha256()
    for each in inputs:
        values = asdict(each) | {"path": str(each.path)}
        if each.path is not None and each.path.exists():
            status = each.path.stat()
            values |= {"size": status.st_size, "changed": status.st_mtime_ns}
        total.update(json.dumps(values, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLES and not path.is_dir()


def _named(name: str, text_column: str | None, root: Path | None) -> Iterator[Input]:
    path = Path(name)
    if _is_table(path):
        yield from _of_table(path, text_column, path.parent if root is None else root)
    elif path.is_dir():
        below = layout.files(path)
        if not below:
            known = " ".join(layout.AUDIO_SUFFIXES)
            raise InputError(f"{name} has no recording, expected files that end in {known}; name others one by one")
        yield from (Input(str(path / each), str(path / each), path / each) for each in below)
    else:
        yield Input(name, name, path)


def _of_table(path: Path, text_column: str | None, root: Path) -> Iterator[Input]:
    header = table_files.header(path)
    times = [name for name in (START, END) if name in header]
    names = [name for name in (ID, AUDIO) if name in header] + times
    if text_column is not None and text_column not in header:
        near = get_close_matches(text_column, header, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{path} has no column {text_column!r}{meant}; its columns are {header}")
    if AUDIO not in header and text_column is None:
        raise InputError(f"{path} has no column {AUDIO!r}, its columns are {header}; rename the one of the recordings")
    if text_column is not None and text_column not in names:
        names.append(text_column)
    for where, cells in table_files.rows(path, names):
        yield _of_row(where, cells, cells.get(text_column or "") or None, root)


def _of_row(where: str, cells: dict[str, str], text: str | None, root: Path) -> Input:
    """Return a row of a table; what is wrong with it alone is its ``defect``."""
    written = cells.get(AUDIO, "")
    name = cells.get(ID) or written or where
    try:
        start, end = (_seconds(where, column, cells.get(column, "")) for column in (START, END))
        path = _below(where, written, root) if written else None
        if path is None and text is None:
            raise InputError(f"{where}: neither a recording nor a text, expected a path in {AUDIO}")
    except InputError as error:
        return Input(name, written, None, text, defect=str(error))
    return Input(name, written, path, text, start, end)


def _seconds(where: str, column: str, cell: str) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        raise InputError(f"{where}: {column} is {cell!r}, expected seconds") from None


def _below(where: str, written: str, root: Path) -> Path:
    relative = table_rows.below(root, written) if Path(written).is_absolute() else written
    if relative is None:
        raise InputError(f"{where}: {written} is not below {root}; name the folder of the recordings with --root")
    try:
        return resolve_under(root, relative)
    except InputError as error:
        raise InputError(f"{where}: {error}; name the folder of the recordings with --root") from None
