"""A corpus of one's own: a CSV or Parquet file with the manifest's column names, recordings below the same root.

Required are ``audio`` (path below ``corpus.root``) and either ``emotion`` or one of arousal, valence, dominance; for a
corpus without sound ``reference_text`` and an identifier stand in for ``audio``. Optional:

================  ====================================================================================================
utterance_id      default: the audio path without its suffix
emotion           any words (letters, digits, blanks, _-.,'&/+()); O is "other", X "no agreement", empty is unlabelled
arousal ...       numbers on ``corpus.attribute_scale``
split             train, dev, test, test2 ..., unlabelled; without it, speakers are drawn (``corpus.split``)
speaker, gender   needed for that draw, for the check of leaks, and for intervals clustered by speaker
votes             annotators' votes as a JSON object: {"anger": 3, "X": 1}
reference_text    what was said, written by a human
video             path below the root
subsets           names separated by ;, other than train, dev, test, dev_filt, dev_bal, fold0 ...
================  ====================================================================================================

Other columns are left alone, unless their name is so near to one of these that a slip of the pen is likelier.
"""

import csv
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.audio import resolve_under
from pipeline_lib.corpus import layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES

CUSTOM = layout.Custom(labels=None)
KNOWN = (
    "utterance_id",
    "audio",
    "emotion",
    *ATTRIBUTES,
    "split",
    "speaker",
    "gender",
    "votes",
    "reference_text",
    "video",
    "subsets",
)
OTHER_NAMES = {
    "activation": "arousal",
    "class": "emotion",
    "emo": "emotion",
    "file": "audio",
    "file_name": "audio",
    "filename": "audio",
    "id": "utterance_id",
    "label": "emotion",
    "partition": "split",
    "path": "audio",
    "sentence": "reference_text",
    "sex": "gender",
    "speaker_id": "speaker",
    "spk": "speaker",
    "text": "reference_text",
    "transcript": "reference_text",
    "transcription": "reference_text",
    "wav": "audio",
}
SPLIT = re.compile(r"train|dev|test\d*|unlabelled")
MADE_LATER = re.compile(rf"{SPLIT.pattern}|dev_filt|dev_bal|fold\d+")  # what the corpus stage itself calls subsets
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
OTHER_SPLITS = {
    "training": "train",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "development": "dev",
    "testing": "test",
}


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each line of the table; see ``layout``.

    Raises:
        InputError: a column is missing or nearly well named, or a value cannot be what its column holds
    """
    path = root / settings.table.file
    header, found = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    split = settings.split.column if settings.split.method == "column" else "split"
    _check_columns(path, header, split, settings.split.method)
    low, high = settings.attribute_scale or CUSTOM.attribute_scale
    rows = [_row(root, where, cells, split, (low, high)) for where, cells in found]
    if not rows:
        raise InputError(f"{path} has a header and no rows")
    frame = layout.frame(rows)
    _check_spelling(path, frame)
    return frame


def _csv_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    header = [name.strip() for name in next(csv.reader(layout.lines(path)[:1]), [])]
    layout.check_header(path, header, ["audio"] if len(header) < 2 else [])  # one column: another separator?
    return header, layout.csv_rows(path, [])


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, Any]]]]:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    layout.check_header(path, table.column_names, [])
    _check_types(path, table.schema)
    columns = [name for name in table.column_names if table.num_rows]
    rows = (
        (f"{path}, row {i + 1}", {name: _cell(table.column(name)[i].as_py()) for name in columns})
        for i in range(table.num_rows)
    )
    return table.column_names, rows


def _check_types(path: Path, schema: pa.Schema) -> None:
    for field in (field for field in schema if field.name in KNOWN):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or (field.name == "audio" and not text):
            raise InputError(f"{path}: column {field.name!r} holds {field.type}, wanted text")


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, dict):
        return json.dumps({k: v for k, v in value.items() if v is not None})
    if isinstance(value, list):  # a map comes as pairs
        return json.dumps(dict(value)) if value and isinstance(value[0], tuple) else ";".join(map(str, value))
    return str(value).strip()


def _check_columns(path: Path, header: list[str], split: str, method: str | None) -> None:
    for name in header:
        meant = OTHER_NAMES.get(name.lower()) or next(
            iter(get_close_matches(name.lower(), KNOWN, n=1, cutoff=0.8)), None
        )
        if meant and name not in KNOWN and name != split and meant not in header:
            raise InputError(
                f"{path} has a column {name!r}: did you mean {meant!r}? Rename it (columns: {list(KNOWN)})"
            )
    if "audio" not in header and not {"utterance_id", "reference_text"} <= {*header}:
        raise InputError(f"{path} has no column 'audio', its columns are {header}")
    if not {"emotion", *ATTRIBUTES} & {*header}:
        raise InputError(f"{path} has no column 'emotion' and none of {list(ATTRIBUTES)}, its columns are {header}")
    if split not in header and method in ("official", "column"):
        raise InputError(f"{path} has no column {split!r} for corpus.split.method {method}, its columns are {header}")
    if split not in header and "speaker" not in header and method in (None, "speakers"):
        raise InputError(
            f"{path} has neither 'split' nor 'speaker', so train and test cannot be told apart; add one,"
            " or set corpus.split.method: random and corpus.allow_speaker_leak: true"
        )


def _row(root: Path, where: str, cells: dict[str, Any], split: str, scale: tuple[float, float]) -> dict:
    for name in KNOWN:
        if CONTROL.search(cells.get(name, "")):
            raise InputError(f"{where}: {name} is {cells[name]!r}, which holds a control character")
    audio = cells.get("audio") or None
    if audio:
        _check_path(root, where, audio)
    elif "audio" in cells and not cells.get("utterance_id"):
        raise InputError(f"{where}: audio is empty, wanted a path below {root}, or an utterance_id to keep its text by")
    row = {
        "audio": audio,
        "video": cells.get("video") or None,
        "utterance_id": cells.get("utterance_id") or (str(PurePosixPath(audio).with_suffix("")) if audio else None),
        "split": _split(where, cells[split]) if split in cells else None,
        "speaker": cells.get("speaker") or None,
        "gender": layout.gender(cells.get("gender")),
        "emotion": _label(where, "emotion", cells.get("emotion", "")) or None,
        "votes": _votes(where, cells.get("votes", "")),
        "reference_text": cells.get("reference_text") or None,
        "subsets": _subsets(where, cells.get("subsets", "")),
    }
    if not row["utterance_id"]:
        raise InputError(f"{where}: utterance_id is empty")
    for name in ATTRIBUTES:
        row[name] = layout.number(where, name, cells.get(name, ""))
        if row[name] < scale[0] or row[name] > scale[1]:
            raise InputError(
                f"{where}: {name} is {row[name]:g}, corpus.attribute_scale goes from {scale[0]:g} to {scale[1]:g}"
            )
    return row


def _check_path(root: Path, where: str, audio: str) -> None:
    try:
        resolve_under(root, audio)
    except InputError as error:
        windows = " (a path is written with /)" if "\\" in audio else ""
        raise InputError(f"{where}: audio: {error}{windows}") from None


def _split(where: str, text: str) -> str:
    if SPLIT.fullmatch(text):
        return text
    meant = OTHER_SPLITS.get(text.lower()) or next(
        iter(get_close_matches(text.lower(), ["train", "dev", "test"], n=1)), None
    )
    near = f" (did you mean {meant!r}?)" if meant else ""
    raise InputError(f"{where}: split is {text!r}, wanted train, dev, test, test2 ... or unlabelled{near}")


def _votes(where: str, text: str) -> dict[str, int] | None:
    if not text:
        return None
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        votes = dict(pairs)
    except (ValueError, TypeError, RecursionError):  # ValueError: also a number of more than 4,300 digits
        raise InputError(
            f'{where}: votes is {_short(text)}, wanted a JSON object such as {{"anger": 3}}, in CSV with quotes doubled'
        ) from None
    if len(votes) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise InputError(f"{where}: votes is {_short(text)}, which names {twice!r} twice")
    good = text.startswith("{") and all(type(n) is int and n >= 0 for n in votes.values())
    if not good:
        raise InputError(f"{where}: votes is {_short(text)}, wanted a JSON object of emotions and whole numbers")
    for name in votes:
        _label(where, "votes", name)
    return votes


def _label(where: str, column: str, text: str) -> str:
    """Return a label that can stand in a report, a plot's page and a spreadsheet without being read as their code."""
    plain = all(c.isalnum() or c in " _-.,'’&/+()" or unicodedata.combining(c) for c in text)
    if text and not (plain and text[0].isalnum()):
        raise InputError(f"{where}: {column} names {_short(text)}, wanted letters, digits, blanks and _-.,'&/+()")
    return text


def _subsets(where: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(";") if name.strip()]
    made = next((name for name in names if MADE_LATER.fullmatch(name)), None)
    if made:
        raise InputError(f"{where}: subsets names {made!r}, which the corpus stage makes itself; wanted another name")
    return names


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _check_spelling(path: Path, frame: pd.DataFrame) -> None:
    """Refuse emotions that differ in capitals or in invisible letters: they would silently be two labels."""
    seen: dict[str, str] = {}
    for emotion in sorted(frame["emotion"].dropna().unique()):
        other = seen.setdefault(_seen(emotion), emotion)
        if other.casefold() == emotion.casefold() and other != emotion:
            raise InputError(f"{path}: emotions {other!r} and {emotion!r} differ in capitals only, wanted one spelling")
        if other != emotion:
            raise InputError(
                f"{path}: emotions {ascii(other)} and {ascii(emotion)} differ in how letters are encoded, wanted one"
            )


def _seen(text: str) -> str:
    """Return what the eye sees: accents composed, letters without shape left out, blanks alike, no capitals."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(plain.split()).casefold()
