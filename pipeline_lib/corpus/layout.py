"""What readers share: finding recordings, reading CSV with line numbers, and the frame that they return.

A reader is one file for one corpus. ``read(root, settings)`` returns a row for each utterance that the corpus names, in
the manifest's columns (``COLUMNS``); it opens no recording. Two columns more:

- ``group``: what must not be cut when speakers are drawn (IEMOCAP's session, of which both speakers hear each other)
- ``reject``: why the utterance is known to be unusable; it goes to the quarantine (``items``: what cannot be read)

``attrs["notes"]`` of the frame are sentences on what was changed or left out while reading; they are printed.

Beside ``read`` a reader says its ``CUSTOM``: what holds where the settings say null.
"""

import csv
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PRIMARY

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
NUMBERS = ("duration_s", "arousal", "valence", "dominance")
COLUMNS = (
    "utterance_id",
    "audio",
    "audio_sha256",
    "video",
    "duration_s",
    "split",
    "subsets",
    "speaker",
    "gender",
    "emotion",
    "votes",
    "arousal",
    "valence",
    "dominance",
    "reference_text",
    "group",
    "reject",
)
csv.field_size_limit(1 << 20)


@dataclass(frozen=True)
class Custom:
    """How a corpus is usually used.

    Attributes:
        labels: scored emotions in order, None for those that the data hold
        merge: emotion -> what it counts as
        attribute_scale: lowest and highest value
        test_speakers: who is tested on, empty for a draw
        dev_speakers: who is developed on, empty for a draw
        leak: what to say when the official split has the same speakers in train and test, empty when it has not
    """

    labels: tuple[str, ...] | None = PRIMARY
    merge: dict[str, str] = field(default_factory=dict)
    attribute_scale: tuple[float, float] = (1.0, 7.0)
    test_speakers: tuple[str, ...] = ()
    dev_speakers: tuple[str, ...] = ()
    leak: str = ""


def frame(rows: Iterable[dict]) -> pd.DataFrame:
    """Return rows as a frame of ``COLUMNS``; what a row does not say is missing."""
    rows = list(rows)
    data = {}
    for name in COLUMNS:
        missing = math.nan if name in NUMBERS else None
        values = [row.get(name, missing) for row in rows]
        data[name] = pd.Series(values, dtype="float64" if name in NUMBERS else "object")
    data["subsets"] = pd.Series([list(row.get("subsets") or []) for row in rows], dtype="object")
    return pd.DataFrame(data)


def files(root: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES) -> list[PurePosixPath]:
    """Return everything below ``root`` with one of these suffixes, relative and sorted; a folder so named as well.

    Hidden files (``._03-01-….wav`` of macOS) and hidden folders are left out.
    """
    found = []
    for folder, folders, names in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        audio_like = [name for name in folders if _has(name, suffixes)]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in audio_like]
        found += [here / name for name in (*names, *audio_like) if _has(name, suffixes) and not name.startswith(".")]
    return sorted(found, key=str)


def recordings(root: Path, corpus: str, example: str) -> list[PurePosixPath]:
    """Return the corpus's recordings.

    Raises:
        InputError: there is none; the message names what is there most
    """
    paths = files(root)
    if paths:
        return paths
    others = Counter(PurePosixPath(name).suffix.lower() for _, _, names in os.walk(root) for name in names)
    most = [f"{n} {suffix}" for suffix, n in others.most_common(3) if suffix]
    there = f"; it holds {', '.join(most)} files (not unpacked, or to be converted?)" if most else ""
    raise InputError(
        f"{root} holds no recording ({' '.join(AUDIO_SUFFIXES)}), {corpus} has files such as {example}{there}"
    )


def coded(where: Path | str, what: str, code: str, known: dict[str, str | None]) -> str | None:
    """Return what a code of the corpus means.

    Raises:
        InputError: the corpus has no such code
    """
    if code not in known:
        raise InputError(f"{where}: {what} {code!r} is unknown, expected one of {sorted(known)}")
    return known[code]


def lines(path: Path) -> list[str]:
    """Return a text file's lines, UTF-8 with or without a byte-order mark.

    Raises:
        InputError: the file is missing, or not UTF-8
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def csv_rows(
    path: Path,
    expected: Sequence[str],
    delimiter: str = ",",
    malformed: Callable[[str, InputError], None] | None = None,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row stands (``labels.csv, line 7``) and its cells by column, blanks around them removed.

    Args:
        path: the file
        expected: columns that it must have
        delimiter: between cells
        malformed: takes a row of one line that cannot be read, with where it stands; None: such a row stops

    Raises:
        InputError: the file is missing, an expected column is, or a row has another number of cells than the header
    """
    lines(path)  # missing or not UTF-8
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = [name.strip() for name in _cells(path, reader) or []]
        check_header(path, header, expected, delimiter)
        while True:
            start = reader.line_num + 1
            where = f"{path}, line {start}"
            try:
                cells = _cells(path, reader)
                if cells is None:
                    return
                if any(cell.strip() for cell in cells) and len(cells) != len(header):
                    raise InputError(
                        f"{where}: {len(cells)} cells, the header has {len(header)} (a comma in an unquoted text?)"
                    )
            except InputError as error:
                if malformed is None or reader.line_num != start:  # of several lines: a quote swallowed other rows
                    raise
                malformed(where, error)
                continue
            if any(cell.strip() for cell in cells):
                yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _cells(path: Path, reader: Any) -> list[str] | None:
    """Return the next row, None behind the last; after an error the reader goes on with the next line."""
    try:
        return next(reader, None)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def check_header(path: Path, header: Sequence[str], wanted: Sequence[str], delimiter: str = ",") -> None:
    """Refuse a header without the wanted columns.

    Raises:
        InputError: empty, twice the same name, another separator, or a column missing, with the nearest name there is
    """
    if not header:
        raise InputError(f"{path} is empty, wanted a header with the columns {list(wanted)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {twice} twice")
    for name in wanted:
        if name in header:
            continue
        others = [each for each in (",", ";", "\t") if each != delimiter and each in header[0]]
        if len(header) == 1 and others:
            raise InputError(f"{path}: cells are separated by {others[0]!r}, wanted {delimiter!r}")
        near = get_close_matches(name, header, n=1)
        raise InputError(f"{path} has no column {name!r}{_meant(near)}; its columns are {list(header)}")


def number(where: str, name: str, text: str) -> float:
    """Return a cell as a number, NaN where it is empty.

    Raises:
        InputError: it is no finite number
    """
    if text in ("", "NaN", "nan", "None"):
        return math.nan
    try:
        value = float(text.replace("_", "x"))  # Python alone takes 1_0 for 10
    except ValueError:
        raise InputError(f"{where}: {name} is {text!r}, wanted a number with a decimal point") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {name} is {text!r}, wanted a finite number")
    return value


def gender(text: str | None) -> str | None:
    """Return female or male for the usual spellings, None for unknown, anything else in lower case."""
    short = (text or "").strip().lower()
    if short in ("", "unknown", "none", "nan"):
        return None
    return {"f": "female", "m": "male", "w": "female", "woman": "female", "man": "male"}.get(short, short)


def _has(name: str, suffixes: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(suffixes))


def _meant(near: Sequence[str]) -> str:
    return f" (did you mean {near[0]!r}?)" if near else ""
