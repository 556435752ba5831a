"""What readers share: finding recordings, reading CSV with line numbers, and the frame that they return.

A reader is one file for one corpus. ``read(root, settings)`` returns a row for each utterance that the corpus names, in
the manifest's columns (``COLUMNS``); it opens no recording. Two columns more:

- ``group``: what must not be cut when speakers are drawn (IEMOCAP's session, of which both speakers hear each other)
- ``reject``: why the utterance is known to be unusable; it goes to the quarantine (``items``: what cannot be read)

``attrs["notes"]`` of the frame are sentences on what was changed or left out while reading; they are printed.

Beside ``read`` a reader says its ``CUSTOM``: what holds where the settings say null.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import cell_text
from pipeline_lib.corpus.csv_files import csv_rows, lines
from pipeline_lib.errors import InputError
from pipeline_lib.labels import PRIMARY

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
    "group",
    "reject",
)
CONTROLS = "control characters (cp1252 or UTF-8 read as Latin-1?), replaced by the signs that were meant"
TEXTS = ("speaker", "reference_text")


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


def frame(rows: Iterable[dict], notes: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as a frame of ``COLUMNS``; what a row does not say is missing, and texts are without controls."""
    rows = list(rows)
    data, changed = {}, 0
    for name in COLUMNS:
        missing = math.nan if name in NUMBERS else None
        values = [row.get(name, missing) for row in rows]
        if name in TEXTS:
            plain = [cell_text.without_controls(text) if text else text for text in values]
            changed += sum(old != new for old, new in zip(values, plain, strict=True))
            values = plain
        data[name] = pd.Series(values, dtype="float64" if name in NUMBERS else "object")
    data["subsets"] = pd.Series([list(row.get("subsets") or []) for row in rows], dtype="object")
    found = pd.DataFrame(data)
    found.attrs["notes"] = [*notes, *([f"{changed} texts held {CONTROLS}."] if changed else [])]
    return found


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


def number(where: str, name: str, text: str) -> float:
    """Return a cell as a number, NaN where it is empty.

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
