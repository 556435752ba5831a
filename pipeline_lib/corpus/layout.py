"""Functions that readers share: listing recordings, reading CSV with line numbers, and the frame that they return.

A reader is one file for one corpus. ``read(root, settings)`` returns a row for each utterance that the corpus names, in
the manifest's columns (``COLUMNS``); it opens no recording. Two columns more:

- ``group``: rows that stay together when speakers are drawn (IEMOCAP's session, of which both speakers hear each
  other); of a table the column that names the fold
- ``reject``: the reason why the utterance is unusable; it goes to the quarantine (``items``: rows that cannot be read)

``attrs["notes"]`` of the frame are sentences on changes and omissions while reading; they are printed.

Beside ``read`` a reader has its ``CUSTOM``: the values that hold where the settings are null.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pandas as pd

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PRIMARY
from pipeline_lib.storage import cell_text
from pipeline_lib.storage.csv_files import csv_rows, lines

__all__ = ["COLUMNS", "Custom", "coded", "csv_rows", "files", "frame", "gender", "lines", "number"]

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
    *(".aifc", ".au", ".caf", ".rf64", ".w64", ".sph"),
)
NUMBERS = ("start_s", "end_s", "duration_s", "arousal", "valence", "dominance")
COLUMNS = (
    "utterance_id",
    "audio",
    "audio_sha256",
    "start_s",
    "end_s",
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
    "dialogue",
    "turn",
    "group",
    "reject",
)
CONTROLS = "control characters (cp1252 or UTF-8 read as Latin-1?), replaced by the signs that were meant"
TEXTS = ("speaker", "reference_text")
Meaning = TypeVar("Meaning")


@dataclass(frozen=True)
class Custom:
    """How a corpus is usually used.

    Attributes:
        labels: scored emotions in order, None for those of the data
        merge: emotion -> the emotion that it counts as
        attribute_scale: lowest and highest value
        test_speakers: speakers of the test split, empty for a draw
        dev_speakers: speakers of the dev split, empty for a draw
        leak: the warning where the official split has the same speakers in train and test, empty elsewhere
    """

    labels: tuple[str, ...] | None = PRIMARY
    merge: dict[str, str] = field(default_factory=dict)
    attribute_scale: tuple[float, float] = (1.0, 7.0)
    test_speakers: tuple[str, ...] = ()
    dev_speakers: tuple[str, ...] = ()
    leak: str = ""


def frame(rows: Iterable[dict], notes: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a frame of ``COLUMNS``.

    Args:
        rows: column -> value, columns left out are missing; control characters are removed from texts
        notes: sentences for ``attrs["notes"]``
    """
    rows = list(rows)
    data, changed = {}, 0
    for name in COLUMNS:
        missing = math.nan if name in NUMBERS else None
        values = [row.get(name, missing) for row in rows]
        if name in TEXTS:
            repaired = [cell_text.without_controls(text) if text else text for text in values]
            changed += sum(old != new for old, new in zip(values, repaired, strict=True))
            values = repaired
        data[name] = pd.Series(values, dtype="float64" if name in NUMBERS else "object")
    data["subsets"] = pd.Series([list(row.get("subsets") or []) for row in rows], dtype="object")
    result = pd.DataFrame(data)
    result.attrs["notes"] = [*notes, *([f"{changed} texts held {CONTROLS}."] if changed else [])]
    return result


def files(root: Path, suffixes: Sequence[str] = AUDIO_SUFFIXES) -> list[PurePosixPath]:
    """Return the files and folders below a root with one of some suffixes, relative and sorted.

    Hidden files (``._03-01-….wav`` of macOS) and hidden folders are left out.

    Args:
        root: the folder
        suffixes: in lower case, with the dot; capitals in names do not matter
    """
    paths: list[PurePosixPath] = []
    for folder, folders, names in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        audio_like = [name for name in folders if _has(name, suffixes)]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in audio_like]
        paths += [here / name for name in (*names, *audio_like) if _has(name, suffixes) and not name.startswith(".")]
    return sorted(paths, key=str)


def recordings(root: Path, corpus: str, example: str) -> list[PurePosixPath]:
    """Return the corpus's recordings.

    Args:
        root: folder of the corpus
        corpus: its name, for the message
        example: path of a recording, for the message

    Raises:
        InputError: there is none; the message names the most frequent suffixes below the root
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


def coded(where: Path | str, what: str, code: str, known: Mapping[str, Meaning]) -> Meaning:
    """Return the meaning of a code of the corpus.

    Args:
        where: file, or file and line, for the message
        what: kind of the code, "emotion" for example
        code: as the corpus writes it
        known: code -> meaning

    Raises:
        InputError: the corpus has no such code
    """
    if code not in known:
        raise InputError(f"{where}: {what} {code!r} is unknown, expected one of {sorted(known)}")
    return known[code]


def number(where: str, name: str, text: str) -> float:
    """Return a cell as a number, NaN where it is empty.

    Args:
        where: file and line, for the message
        name: of the column, for the message
        text: the cell

    Raises:
        InputError: it is no finite number
    """
    if cell_text.is_missing(text):
        return math.nan
    try:
        value = float(text.replace("_", "x"))  # Python alone takes 1_0 for 10
    except ValueError:
        comma = " (a comma in place of the point, or between thousands?)" if "," in text else ""
        raise InputError(f"{where}: {name} is {text!r}, expected a number with a decimal point{comma}") from None
    if not math.isfinite(value):
        raise InputError(f"{where}: {name} is {text!r}, expected a finite number")
    return value


def gender(text: str | None) -> str | None:
    """Return female or male for the usual spellings, None for unknown, anything else in lower case."""
    short = (text or "").strip().lower()
    if short == "unknown" or cell_text.is_missing(short):
        return None
    return {"f": "female", "m": "male", "w": "female", "woman": "female", "man": "male"}.get(short, short)


def _has(name: str, suffixes: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(suffixes))
