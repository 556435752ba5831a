"""Tables as people keep them: any separator, UTF-8, UTF-16 or cp1252, headers in other words, decimal commas.

What is read differently from the strict reader (``corpus.table``) is counted in ``Table.notes``, and the table is
written once more in the strict form; the original is never touched.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.storage import cell_text, table_files
from pipeline_lib.storage.csv_files import MAX_BYTES, MAX_ROWS

SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
# meaning -> names of its column, in lower case with _ between words, the likeliest first
MEANINGS: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "path", "file", "file_path", "filepath", "audio_path", "audio_file", "wav", "wav_path")
    + ("wav_file", "filename", "file_name", "recording", "clip"),
    "emotion": ("emotion", "label", "emotion_label", "emo", "class", "category", "emoclass", "emotions", "labels"),
    "speaker": ("speaker", "speaker_id", "speakerid", "spk", "spk_id", "spkr", "spkrid", "actor", "actor_id", "subject")
    + ("subject_id", "participant", "participant_id"),
    "gender": ("gender", "sex"),
    "reference_text": ("reference_text", "text", "transcript", "transcription", "sentence", "utterance"),
    "split": ("split", "set", "split_set", "partition", "data_split"),
    "fold": ("fold", "folds", "fold_id", "session"),
    "utterance_id": ("utterance_id", "utt_id", "segment_id", "id"),
    "start_s": ("start_s", "start"),
    "end_s": ("end_s", "end"),
    "offset": ("offset",),
    "duration": ("duration",),
    "arousal": ("arousal", "activation", "emoact"),
    "valence": ("valence", "emoval"),
    "dominance": ("dominance", "emodom"),
    "votes": ("votes",),
    "annotator": ("annotator", "annotator_id", "rater", "rater_id", "worker", "worker_id"),
    "video": ("video",),
    "subsets": ("subsets",),
}
NUMBERS = ("start_s", "end_s", "offset", "duration", "arousal", "valence", "dominance")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Table:
    """A table's cells.

    Attributes:
        path: the file
        header: names of its columns, as written
        rows: column -> cell, "" for an empty one
        notes: how it differs from what the strict reader takes, a few words each
    """

    path: Path
    header: tuple[str, ...]
    rows: list[dict[str, str]]
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> Table:
    """Return the cells of a CSV-like or Parquet file.

    Raises:
        InputError: the file cannot be read, is too large, holds no row, or a row has more cells than the header
    """
    if path.suffix.lower() == ".parquet":
        names = table_files.header(path)
        return Table(path, tuple(names), [cells for _, cells in table_files.rows(path, names)])
    text, notes = _text(path)
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):
        text, notes = rest, [*notes, "a line sep="]
    separator = _separator(text)
    notes += [f"separated by {separator!r}"] if separator != "," else []
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[dict[str, str]] = []
    try:
        header = [cell_text.stripped(name) for name in next(lines, [])]
        for cells in lines:
            cells = [cell_text.stripped(cell) for cell in cells]
            if not any(cells):
                continue
            if any(cells[len(header) :]):
                raise InputError(
                    f"{path}, line {lines.line_num}: {len(cells)} cells, the header has {len(header)}"
                    f" ({separator!r} in an unquoted text?)"
                )
            if len(rows) == MAX_ROWS:
                raise InputError(f"{path} has more than {MAX_ROWS:,} rows, expected at most that many")
            rows.append({name: cell for name, cell in zip(header, [*cells, *[""] * len(header)]) if name})
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: not CSV: {error}") from None
    header = [name for name in header if name]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the header names {twice} twice")
    if not rows:
        raise InputError(f"{path} holds no row below its header {header}")
    return Table(path, tuple(header), rows, notes)


def choose(table: Table, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return meaning -> column.

    Args:
        table: see ``read``
        given: meaning -> column that the user names, None where it is left open

    Raises:
        InputError: a named column does not exist, or several could hold the label
    """
    by_name = {_word(name): name for name in reversed(table.header)}
    columns: dict[str, str] = {}
    for meaning, names in MEANINGS.items():
        named = given.get(meaning)
        if named is not None:
            if named not in table.header:
                raise InputError(f"{table.path} has no column {named!r}, its columns are {list(table.header)}")
            columns[meaning] = named
            continue
        present = [by_name[name] for name in names if name in by_name and by_name[name] not in given.values()]
        if meaning == "emotion" and len(present) > 1 and _word(present[0]) != "emotion":
            raise InputError(f"{table.path} has the columns {present}: name the one that is the label, --label COLUMN")
        if present:
            columns[meaning] = present[0]
    if {"start_s", "end_s"} <= {*columns}:
        columns = {meaning: name for meaning, name in columns.items() if meaning not in ("offset", "duration")}
    elif not {"offset", "duration"} <= {*columns}:
        columns = {meaning: name for meaning, name in columns.items() if meaning not in NUMBERS[:4]}
    return columns


def meant(table: Table, columns: Mapping[str, str]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows by meaning, numbers with decimal points, and notes on what was changed.

    Args:
        table: see ``read``
        columns: meaning -> column, see ``choose``
    """
    renamed = [f"{name} is {meaning}" for meaning, name in columns.items() if name != meaning]
    commas = 0
    rows = []
    for cells in table.rows:
        row = {meaning: cells[name] for meaning, name in columns.items()}
        for name in NUMBERS:
            if DECIMAL_COMMA.fullmatch(row.get(name, "")):
                row[name] = row[name].replace(",", ".")
                commas += 1
        rows.append(row)
    notes = [*table.notes, *([f"columns {', '.join(renamed)}"] if renamed else [])]
    return rows, [*notes, *([f"{commas} decimal commas"] if commas else [])]


def text_of(rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> str:
    """Return rows as the CSV that ``corpus.table`` reads.

    Args:
        rows: column -> cell
        names: columns in order; a cell that a row lacks is empty
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row.get(name) or "" for name in names] for row in rows)
    return out.getvalue()


def _text(path: Path) -> tuple[str, list[str]]:
    """Return a file's text and notes on its encoding."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has {path.stat().st_size:,} bytes, expected at most {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if data.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"{path} is a workbook or an archive, expected CSV: save the sheet as CSV")
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16"), ["UTF-16"]
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), ["not UTF-8, read as cp1252"]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is neither UTF-8, UTF-16 nor cp1252: byte {error.start} (is it text?)") from None


def _separator(text: str) -> str:
    """Return the separator that occurs most often in the header outside quotes, the comma where none does."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return max(SEPARATORS, key=bare.count)


def _word(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_")
