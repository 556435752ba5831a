"""From a table's cells to an utterance: paths below the root, labels, votes, splits, segments."""

import json
import math
import re
import unicodedata
from collections import Counter
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline_lib.audio.decoding import resolve_under
from pipeline_lib.corpus import layout, segment_times
from pipeline_lib.corpus.table_columns import DIALOGUES, KNOWN, Columns
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.storage import cell_text

SPLIT = re.compile(r"train|dev|test\d*|unlabelled")
TURN = re.compile(r"[0-9]{1,9}(\.0)?")  # 3.0 is a whole number that pandas read as a floating-point one
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# subsets that the corpus stage makes itself
MADE_LATER = re.compile(rf"{SPLIT.pattern}|folds|(fold\d+_)?dev(_filt|_bal)?|fold\d+")
OTHER_SPLITS = {
    "training": "train",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "development": "dev",
    "testing": "test",
}
# columns in which every word for a missing value is one
NAMES = ("emotion", "speaker", "gender", "votes", "subsets", "audio", "video", *DIALOGUES, *ATTRIBUTES)


class Rows:
    """Turn the cells of one table into utterances, and count the cells that were not taken as written.

    Args:
        root: folder of the corpus
        settings: the section ``corpus``
        columns: the columns that are read
        scale: lowest and highest value of attributes

    Attributes:
        missing: column -> words that stood for a missing value, with their counts
        repaired: column -> number of cells that held control characters in place of signs
    """

    def __init__(self, root: Path, settings: CorpusSettings, columns: Columns, scale: tuple[float, float]):
        self.missing: dict[str, Counter[str]] = {}
        self.repaired: Counter[str] = Counter()
        self._root, self._columns, self._scale = root, columns, scale
        self._split_is_read = settings.split.method in (None, "official", "column")
        labels = {*(settings.labels or []), *(settings.merge or {})}
        self._labels = {*settings.table.keep_words, *labels}
        self._names = {*settings.table.keep_words}
        self._paths: dict[str, str] = {}  # as written -> relative: segments and annotators repeat them

    def row(self, n: int, where: str, cells: dict[str, str]) -> dict:
        """Return the utterance of a row, in the columns of ``layout``, with ``where`` and ``annotator``.

        Args:
            n: number of the row, from 1; names an utterance without audio and utterance_id
            where: file and line, for messages
            cells: column -> text, "" for an empty cell

        Raises:
            InputError: a value cannot be what its column holds
        """
        written, cells = cells, {name: self._cleaned(where, name, text) for name, text in cells.items()}
        audio, video = (self._path(where, name, cells.get(name, "")) for name in ("audio", "video"))
        text = cells.get("reference_text") or None
        if "audio" in cells and not (audio or text or cells.get("utterance_id")):
            empty = f"audio is {written['audio']!r}" if written["audio"] else "audio is empty"
            raise InputError(f"{where}: {empty}, expected a path below {self._root}, or an utterance_id or text")
        start_s, end_s = self._segment(where, cells) if audio else (float("nan"), float("nan"))
        annotator = cells.get(self._columns.annotator or "", "")
        split = self._columns.split
        is_fold = split == self._columns.fold  # its words are those of folds
        row = {
            "where": where,
            "annotator": None if cell_text.is_missing(annotator) else annotator,
            "audio": audio,
            "start_s": start_s,
            "end_s": end_s,
            "video": video,
            "utterance_id": cells.get("utterance_id") or _identifier(audio, start_s, end_s, n, cells),
            "split": None if is_fold else self._split(where, *(texts.get(split) for texts in (cells, written))),
            "speaker": cells.get("speaker") or None,
            "gender": layout.gender(cells.get("gender")),
            "emotion": label(where, "emotion", cells.get("emotion", "")) or None,
            "votes": self._votes(where, cells.get("votes", "")),
            "reference_text": text,
            "subsets": _subsets(where, cells.get("subsets", "")),
            "group": cells.get(self._columns.fold or "") or None,
            **self._turn(where, cells),
        }
        if not row["utterance_id"]:
            raise InputError(f"{where}: utterance_id is empty")
        return {**row, **self._attributes(where, cells)}

    def _cleaned(self, where: str, name: str, text: str) -> str:
        """Return a cell without control characters, and "" for a word that stands for a missing value."""
        of_sides = (self._columns.split, self._columns.fold)
        if name not in KNOWN and name not in of_sides and not (self._columns.dialogues and name in DIALOGUES):
            return text
        if name not in ("audio", "video"):
            repaired = cell_text.repaired(text)
            self.repaired[name] += repaired != text
            text = repaired
        if cell_text.CONTROL.search(text):
            raise InputError(f"{where}: {name} is {short(text)}, which holds a control character")
        words = self._labels if name == "emotion" else self._names
        any_word = (name in NAMES or name in of_sides) and text not in words
        if text and (cell_text.is_missing(text) if any_word else text in cell_text.WRITTEN_BY_STR - words):
            self.missing.setdefault(name, Counter())[text] += 1
            return ""
        return text

    def _path(self, where: str, name: str, text: str) -> str | None:
        if not text:
            return None
        if text not in self._paths:
            self._paths[text] = self._relative(where, name, text)
        return self._paths[text]

    def _relative(self, where: str, name: str, text: str) -> str:
        if URL.match(text):
            raise InputError(
                f"{where}: {name} is {short(text)}, an address; expected a path relative to corpus.root {self._root}"
                " (download the file, or leave out file://)"
            )
        windows = PureWindowsPath(text).is_absolute()
        if "\\" in text and not windows and not _exists(self._root / text):
            text = text.replace("\\", "/")
        absolute = PurePosixPath(text).is_absolute() and ".." not in PurePosixPath(text).parts
        relative = None if windows else below(self._root, text) if absolute else text
        if relative is None:
            raise InputError(
                f"{where}: {name}: {short(text)} is an absolute path and does not lie below corpus.root {self._root};"
                " expected a path relative to that folder"
            )
        try:
            resolve_under(self._root, relative)
        except InputError as error:
            raise InputError(f"{where}: {name}: {error}") from None
        return str(PurePosixPath(relative))

    def _segment(self, where: str, cells: dict[str, str]) -> tuple[float, float]:
        names = self._columns.segment
        if names is None:
            return float("nan"), float("nan")
        return segment_times.segment(where, names, cells[names[0]], cells[names[1]])

    def _split(self, where: str, text: str | None, written: str | None) -> str | None:
        if text is None:
            return None
        if SPLIT.fullmatch(text):
            return text
        if not text and not self._split_is_read:
            return None
        near = get_close_matches(text.lower(), ["train", "dev", "test"], n=1)
        meant = OTHER_SPLITS.get(text.lower()) or (near[0] if near else None)
        hint = f" (did you mean {meant!r}?)" if meant else ""
        raise InputError(f"{where}: split is {written!r}, expected train, dev, test, test2 ... or unlabelled{hint}")

    def _attributes(self, where: str, cells: dict[str, str]) -> dict[str, float]:
        low, high = self._scale
        values = {name: layout.number(where, name, cells.get(name, "")) for name in ATTRIBUTES}
        for name, value in values.items():
            if value < low or value > high:
                raise InputError(f"{where}: {name} is {value:g}, corpus.attribute_scale goes from {low:g} to {high:g}")
        return values

    def _turn(self, where: str, cells: dict[str, str]) -> dict[str, str | None]:
        """Return the dialogue and the turn, a whole number as text without leading zeros."""
        if not self._columns.dialogues:
            return dict.fromkeys(DIALOGUES)
        dialogue, turn = (cells[name].strip() or None for name in DIALOGUES)
        if turn is not None and not TURN.fullmatch(turn):
            raise InputError(f"{where}: turn is {short(turn)}, expected a whole number of at most 9 digits")
        if (dialogue is None) != (turn is None):
            raise InputError(
                f"{where}: dialogue is {dialogue!r} and turn {turn!r}, expected both or neither (or name them in"
                " corpus.table.ignore)"
            )
        return {"dialogue": dialogue, "turn": None if turn is None else str(int(float(turn)))}

    def _votes(self, where: str, text: str) -> dict[str, int] | None:
        if not text:
            return None
        votes = _counts(where, text)
        for name in list(votes):
            if cell_text.is_missing(name) and name not in self._labels:
                self.missing.setdefault("votes", Counter())[name] += votes.pop(name)
            else:
                label(where, "votes", name)
        return votes


def below(root: Path, path: str) -> str | None:
    """Return an absolute path relative to the root, None where it does not lie below it.

    Args:
        root: folder of the corpus
        path: an absolute path; it may lead to the root over links
    """
    folder, parts = PurePosixPath(path), []
    while folder != folder.parent:
        parts.append(folder.name)
        folder = folder.parent
        if _is(folder, root):
            return str(PurePosixPath(*reversed(parts)))
    return None


def label(where: str, column: str, text: str) -> str:
    """Return a label that can stand in a report, a plot's page and a spreadsheet without being read as their code.

    Args:
        where: file and line, for messages
        column: its name, for messages
        text: the label, "" for none

    Raises:
        InputError: the label has other characters than letters, digits, blanks and ``_-.,'&/+()``
    """
    is_safe = all(c.isalnum() or c in " _-.,'’&/+()" or unicodedata.combining(c) for c in text)
    if text and not (is_safe and text[0].isalnum()):
        raise InputError(f"{where}: {column} names {short(text)}, expected letters, digits, blanks and _-.,'&/+()")
    return text


def short(text: str) -> str:
    """Return the text quoted, of a long one its beginning."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long
        return False


@lru_cache(maxsize=4096)
def _is(folder: PurePosixPath, root: Path) -> bool:
    try:
        return Path(folder).resolve() == root.resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a name too long
        return False


def _identifier(audio: str | None, start_s: float, end_s: float, n: int, cells: dict[str, str]) -> str | None:
    if audio:
        return str(PurePosixPath(audio).with_suffix("")) + segment_times.suffix(start_s, end_s)
    return f"row_{n:07d}" if "audio" in cells else None


def _counts(where: str, text: str) -> dict[str, int]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
        votes = dict(pairs)
    except (ValueError, TypeError, RecursionError):  # ValueError: also a number of more than 4,300 digits
        raise InputError(
            f'{where}: votes is {short(text)}, expected a JSON object such as {{"anger": 3}}, in CSV quotes are doubled'
        ) from None
    if len(votes) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise InputError(f"{where}: votes is {short(text)}, which names {twice!r} twice")
    whole = all(type(n) in (int, float) and 0 <= n < math.inf and n == int(n) for n in votes.values())
    if not (text.startswith("{") and whole):
        raise InputError(f"{where}: votes is {short(text)}, expected a JSON object of emotions and whole numbers")
    return {name: int(n) for name, n in votes.items()}


def _subsets(where: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(";") if name.strip()]
    made = next((name for name in names if MADE_LATER.fullmatch(name)), None)
    if made:
        raise InputError(f"{where}: subsets names {made!r}, which the corpus stage makes itself; expected another name")
    return names
