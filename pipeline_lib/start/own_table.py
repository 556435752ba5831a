"""A table of one's own: which of its cells are read, how, and whether the strict reader takes it as it is."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline_lib.corpus import table as strict
from pipeline_lib.corpus import table_columns, table_rows
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.start import labels, table_file
from pipeline_lib.start.recordings import Recordings
from pipeline_lib.start.splits import SPLIT_OF
from pipeline_lib.storage import cell_text

PLACE = ("utterance_id", "audio", "start_s", "end_s", "offset", "duration", "split", "fold", "speaker", "gender")
ORDER = (*PLACE, "emotion", *ATTRIBUTES, "votes", "annotator", "reference_text", "video", "subsets")
SCALES = ((0.0, 1.0), (-1.0, 1.0), (1.0, 5.0), (1.0, 7.0), (1.0, 9.0), (0.0, 10.0), (0.0, 100.0), (-100.0, 100.0))
NAMES = ("emotion", "speaker", "gender", "split", "fold")


@dataclass(frozen=True)
class OwnTable:
    """A table's utterances.

    Attributes:
        root: folder of the recordings
        file: the table as ``corpus.table.file`` names it, None where it is written anew
        rows: column -> cell, in the strict reader's words
        columns: of ``rows``, in order
        notes: what is read otherwise than it is written, and what is not read
        unread: columns that are not read
    """

    root: Path
    file: str | None
    rows: list[dict[str, str]]
    columns: tuple[str, ...]
    notes: list[str]
    unread: list[str]


def is_table(path: Path, given: Mapping[str, str | None]) -> bool:
    """Return whether a file is a table that names recordings or texts and a label, by its header.

    Args:
        path: the file
        given: meaning -> column that the user names, None where it is left open
    """
    try:
        columns = table_file.choose(table_file.read(path), given)
    except InputError:
        return False
    return bool({"audio", "reference_text"} & {*columns}) and bool({"emotion", *ATTRIBUTES} & {*columns})


def read(path: Path, root: Path | None, given: Mapping[str, str | None]) -> OwnTable:
    """Return a table's utterances.

    Args:
        path: the table
        root: folder of the recordings; None: the table's, or what absolute paths have in common
        given: meaning -> column that the user names, None where it is left open

    Raises:
        InputError: it cannot be read, has no label or nothing to read, or none of its recordings exists
    """
    table = table_file.read(path)
    columns = table_file.choose(table, given)
    if not {"emotion", *ATTRIBUTES} & {*columns}:
        raise InputError(
            f"{path} has no column of labels that is known by its name; name it, --label COLUMN, one of"
            f" {list(table.header)}"
        )
    if not {"audio", "reference_text"} & {*columns}:
        raise InputError(
            f"{path} has no column of recordings or texts that is known by its name; name it, --audio COLUMN or --text"
            f" COLUMN, one of {list(table.header)}"
        )
    rows, notes = table_file.meant(table, columns)
    root = (root or _root(path, [row.get("audio", "") for row in rows])).resolve()
    notes += _find(path, root, rows) if "audio" in columns else []
    notes += _name(rows)
    notes += _cut(rows)
    for i, row in enumerate(rows):
        table_rows.label(f"{path}, row {i + 1}", "emotion", row.get("emotion", ""))
    if "audio" not in columns and "utterance_id" not in columns:
        rows = [{**row, "utterance_id": f"row_{i:07d}"} for i, row in enumerate(rows, start=1)]
        columns["utterance_id"] = "utterance_id"
        notes.append("utterances are numbered")
    names = tuple(name for name in ORDER if any(row.get(name) for row in rows))
    unread = [name for name in table.header if name not in columns.values()]
    file = None if notes or any(given.values()) else _as_it_is(path, root)
    return OwnTable(root, file, rows, names, notes, unread)


def _root(path: Path, cells: Sequence[str]) -> Path:
    """Return the table's folder, or the common folder of absolute paths that do not lie below it."""
    absolute = [cell for cell in cells if PurePosixPath(cell).is_absolute() and ".." not in PurePosixPath(cell).parts]
    if absolute and len(absolute) == sum(map(bool, cells)) and table_rows.below(path.parent, absolute[0]) is None:
        common = Path(os.path.commonpath([str(PurePosixPath(cell).parent) for cell in absolute]))
        if common.is_dir() and common != Path(common.anchor):
            return common
    return path.parent


def _find(path: Path, root: Path, rows: list[dict[str, str]]) -> list[str]:
    """Replace the cells of ``audio`` by paths below the root, in place; return notes on the changes."""
    recordings = Recordings(root)
    how: dict[str, tuple[str | None, str | None]] = {}
    changes, missing = Counter[str](), []
    for row in rows:
        cell = row["audio"]
        if not cell:
            continue
        if cell not in how:
            how[cell] = recordings.find(cell)
        found, change = how[cell]
        changes.update([change] if change else [])
        if found is None:
            missing.append(cell)
            bare = PureWindowsPath(cell).as_posix() if "\\" in cell else cell
            found = "/".join(part for part in PurePosixPath(bare).parts if part not in ("/", "..") and ":" not in part)
        row["audio"] = found
    if missing and len(missing) == sum(bool(row["audio"]) for row in rows):
        raise InputError(
            f"{path}: none of its {len(missing)} recordings lies below {root}, {missing[0]!r} first;"
            " name their folder, --root FOLDER"
        )
    notes = [f"{n} paths with {change}" for change, n in sorted(changes.items())]
    return [*notes, *([f"{len(missing)} recordings are missing, {missing[0]!r} first"] if missing else [])]


def _name(rows: list[dict[str, str]]) -> list[str]:
    """Give labels one spelling and empty cells that stand for a missing value, in place; return notes."""
    for row in rows:
        for name in NAMES:
            if cell_text.is_missing(row.get(name, "")):
                row[name] = ""
    same = labels.one_spelling(Counter(row["emotion"] for row in rows if row.get("emotion")))
    for row in rows:
        row["emotion"] = same.get(row.get("emotion", ""), row.get("emotion", ""))
    return [f"one spelling for {', '.join(f'{old} and {new}' for old, new in sorted(same.items()))}"] if same else []


def _cut(rows: list[dict[str, str]]) -> list[str]:
    """Give splits the words of the strict reader, in place; a column with other words becomes folds, or is left out."""
    words = {row.get("split", "") for row in rows}
    if words <= {"", *SPLIT_OF.values()}:
        return []
    if all(word.casefold() in SPLIT_OF for word in words if word):
        for row in rows:
            row["split"] = SPLIT_OF.get(row["split"].casefold(), "")
        return ["names of splits"]
    for row in rows:
        row.setdefault("fold", row["split"])
        row["split"] = ""
    return [f"the column split holds {sorted(words)[:5]} and is read as folds"]


def _as_it_is(path: Path, root: Path) -> str | None:
    """Return the table relative to the root where the strict reader takes it, else None."""
    if path.suffix.lower() not in (".csv", ".parquet") or not path.resolve().is_relative_to(root):
        return None
    file = str(path.resolve().relative_to(root))
    values = {"reader": "table", "root": str(root), "table": {"file": file}, "split": {"method": "random"}}
    try:
        strict.read(root, CorpusSettings.parse(values, "corpus"))
    except InputError:
        return None
    return file


def scale(rows: Sequence[Mapping[str, str]]) -> tuple[float, float] | None:
    """Return the narrowest usual scale that holds all attributes, None where there are none.

    Args:
        rows: column -> cell

    Raises:
        InputError: a cell is no number, or lies beyond all scales
    """
    values = [float(row[name]) for row in rows for name in ATTRIBUTES if _is_number(row.get(name, ""))]
    if not values:
        return None
    for low, high in SCALES:
        if low <= min(values) and max(values) <= high:
            return low, high
    raise InputError(f"attributes go from {min(values):g} to {max(values):g}, expected a scale among {list(SCALES)}")


def positions(unread: Sequence[str]) -> list[str]:
    """Return the unread columns that seem to name a part of a recording or a channel."""
    return [name for name in unread if table_columns.is_position(name) and name not in table_columns.MEASURED]


def _is_number(cell: str) -> bool:
    if cell_text.is_missing(cell):
        return False
    try:
        float(cell)
    except ValueError:
        raise InputError(f"an attribute is {cell!r}, expected a number") from None
    return True
