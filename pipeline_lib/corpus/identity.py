"""Names that look the same are the same here: speakers, utterances, labels and paths in any Unicode form.

A letter with an accent has two encodings, composed (NFC, as typed on Linux and Windows) and decomposed (NFD, as macOS
writes file names). All names are composed before anything is compared; a path is looked for on the disk in any form.
Names that differ in more (capitals, blanks, full-width signs, leading zeros) may be of one or two persons: a warning
names them, and they stay as they are.
"""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pandas as pd

NAMES = ("utterance_id", "speaker", "emotion", "dialogue", "group")
LINK = "a link to nothing: git annex get, or dvc pull?"
NAMED = 5  # pairs of speakers that a warning names


def composed(text: str) -> str:
    """Return the text in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text)


def normalise(frame: pd.DataFrame) -> list[str]:
    """Compose all names of a reader's frame in place; return the notes on speakers in two forms."""
    before = frame["speaker"].dropna()
    forms = before.groupby(before.map(composed)).nunique()
    two = sorted(forms.index[forms > 1])
    for name in NAMES:
        texts = [composed(text) if isinstance(text, str) else None for text in frame[name]]
        frame[name] = pd.Series(texts, index=frame.index, dtype=object)
    votes = [_composed_keys(cast) if isinstance(cast, dict) else None for cast in frame["votes"]]
    frame["votes"] = pd.Series(votes, index=frame.index, dtype=object)
    return [f"{_named(two)} written in two Unicode forms: counted as one speaker each."] if two else []


def alike(frame: pd.DataFrame) -> list[str]:
    """Return a warning of speakers whose names differ so little that they may be one person, empty without any."""
    names: dict[str, list[str]] = {}
    for speaker in sorted(frame["speaker"].dropna().unique()):
        names.setdefault(folded(speaker), []).append(speaker)
    pairs = [group for group in names.values() if len(group) > 1]
    if not pairs:
        return []
    named = ", ".join(" and ".join(map(repr, group)) for group in pairs[:NAMED]) + (" ..." if pairs[NAMED:] else "")
    apart = "differ in capitals, blanks, dashes, width or zeros only and are counted apart"
    return [f"speakers {named} {apart}: where they are one person, spell them alike, or they cross splits unseen."]


def folded(name: str) -> str:
    """Return the name without what may be another spelling of it: capitals, blanks, dashes, width, zeros."""
    text = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf").casefold()
    text = re.sub(r"^(\d+)\.0$", r"\1", text.strip())  # whole numbers that pandas read as floating-point ones
    return re.sub(r"\d+", lambda digits: str(int(digits[0])), re.sub(r"[\s_-]+", " ", text))


def find_paths(root: Path, paths: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Look on the disk for paths that do not exist as they are spelled.

    Args:
        root: folder of the corpus
        paths: relative ones

    Returns:
        path -> the only path on the disk that is the same in another Unicode form; and path -> a hint on a file with
        other capitals or the only one of that name or stem, for messages alone
    """
    missing = {path for path in paths if not _exists(root / path)}
    links = {path: LINK for path in missing if os.path.lexists(root / path)}
    missing -= {*links}
    if not missing:
        return {}, links
    forms: dict[str, list[str]] = {}
    for folder, _, files in os.walk(root):
        here = PurePosixPath(Path(folder).relative_to(root).as_posix())
        for file in files:
            forms.setdefault(composed(str(here / file)), []).append(str(here / file))
    keys = {path: composed(str(PurePosixPath(path))) for path in missing}
    same = {path: forms[key][0] for path, key in keys.items() if len(forms.get(key, [])) == 1}
    near = _Near([path for spellings in forms.values() for path in spellings])
    hints = {path: near.hint(key) for path, key in keys.items() if key not in forms}
    return same, links | {path: hint for path, hint in hints.items() if hint}


class _Near:
    """Hints on missing files, by the paths on the disk."""

    def __init__(self, paths: list[str]) -> None:
        self._folded = {composed(path).casefold(): path for path in paths}
        self._names, self._stems = (self._only(paths, part) for part in ("name", "stem"))

    def hint(self, path: str) -> str | None:
        """Return a hint for a message, None where no path is near."""
        if folded := self._folded.get(path.casefold()):
            return f"capitals? there is {folded}"
        decoded = PurePosixPath(unquote(path))
        other = self._names.get(decoded.name.casefold()) or self._stems.get(decoded.name.casefold())
        other = other or self._stems.get(decoded.stem.casefold())
        return f"elsewhere? there is {other}" if other else None

    @staticmethod
    def _only(paths: list[str], part: str) -> dict[str, str]:
        counts: dict[str, list[str]] = {}
        for path in paths:
            counts.setdefault(composed(getattr(PurePosixPath(path), part)).casefold(), []).append(path)
        return {name: same[0] for name, same in counts.items() if len(same) == 1}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, links in a circle
        return True  # opening it will give the reason


def _composed_keys(cast: dict[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label, n in cast.items():
        counts[composed(label)] = counts.get(composed(label), 0) + n
    return counts


def _named(names: list[str]) -> str:
    first = ", ".join(map(repr, names[:NAMED])) + (" ..." if names[NAMED:] else "")
    return f"{len(names)} speaker{'s' if len(names) > 1 else ''} ({first}) {'are' if len(names) > 1 else 'is'}"
