"""Rows of a reader, item by item: an item that cannot be read goes to the quarantine, and the rest is read.

An item is a recording whose name carries the labels, or a line of a label file. One that cannot be read is a row with
nothing but an identifier, the file and ``reject``, whose first word is one of ``UNREADABLE``. Where no item can be read
the reader stops; where too many cannot, the corpus stage does (``losses``).
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.errors import InputError
from pipeline_lib.metrics.words import count_marks, without_marks

UNREADABLE = ("misnamed", "malformed")
# Google Drive and old Windows; browsers and Windows; Windows; macOS
_COPY = re.compile(r"(?:(?:Copy|Kopie) (?:of|von) )*(.+?)(?: ?\(\d+\)| - (?:Copy|Kopie)| copy(?: \d+)?)*")


def stem(path: PurePosixPath | str) -> str:
    """Return a file's name without suffix and without what browsers and file managers append to a second copy.

    Examples:
        >>> stem("wav/03a01Fa (1).wav"), stem("03a01Fa - Copy (2).wav"), stem("03a01Fa copy 2.wav"), stem("03a01Fa.wav")
        ('03a01Fa', '03a01Fa', '03a01Fa', '03a01Fa')
    """
    name = PurePosixPath(path).stem
    match = _COPY.fullmatch(name)
    return match[1] if match else name


def by_stem(paths: list[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Return the files of each ``stem``: copies in other containers and folders keep it."""
    result: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        result.setdefault(stem(path), []).append(path)
    return result


class Items:
    """Collects the rows of a corpus.

    Args:
        root: folder of the corpus; it is left out of reasons, so that a corpus moved elsewhere gives the same

    Attributes:
        rows: readable rows
        notes: sentence -> number, for which "{n}" in it stands
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[dict] = []
        self.notes: Counter[str] = Counter()
        self._unreadable: list[dict] = []
        self._first: InputError | None = None

    def recording(self, path: PurePosixPath, make: Callable[[str], dict | None]) -> None:
        """Add the row of a recording, or note why it cannot be read.

        Args:
            path: relative to the root
            make: returns the row for the recording's ``stem``, None for a recording that is passed over
        """
        try:
            row = make(stem(path))
        except InputError as error:
            of_name = str(error).startswith(str(self.root / path))
            self.reject("misnamed" if of_name else "malformed", error, path.stem, str(path))
        else:
            self.rows += [{"utterance_id": stem(path), "audio": str(path), **row}] if row is not None else []

    def line(
        self, where: str, name: str | None, make: Callable[..., list[dict]], *values: Any, split: str | None = None
    ) -> None:
        """Add the rows of a line of a label file, or note why it cannot be read.

        Args:
            where: file and line, as messages have it
            name: the utterance_id, None where it is not known: ``where`` stands for it
            make: returns the rows of the line
            values: arguments of ``make``
            split: the split that loses the utterance if it cannot be read, None where that is not known
        """
        try:
            rows = make(*values)
        except InputError as error:
            self.malformed(where, error, name, split)
        else:
            self.rows += rows

    def malformed(self, where: str, error: InputError, name: str | None = None, split: str | None = None) -> None:
        """Note a line that cannot be read.

        Args:
            where: file and line, as messages have it
            error: the reason
            name: the utterance_id, None where it is not known
            split: the split that loses the utterance, None where that is not known
        """
        self.reject("malformed", error, name or self._relative(where), self._relative(where.partition(", ")[0]), split)

    def reject(self, word: str, error: InputError, name: str, file: str, split: str | None = None) -> None:
        """Note an item that cannot be read.

        Args:
            word: one of ``UNREADABLE``
            error: the reason
            name: the utterance_id, or where the item stands
            file: path relative to the root
            split: the split that loses the utterance, None where that is not known
        """
        self._first = self._first or error
        reason = f"{word}: {self._relative(str(error))}"
        self._unreadable.append({"utterance_id": name, "audio": file, "split": split, "reject": reason})

    def without_marks(self, text: str) -> str:
        """Return a transcript without marks of events, ``[LAUGHTER]`` for example; they are counted."""
        self.notes["{n} marks of events such as [LAUGHTER] are left out of the reference texts."] += count_marks(text)
        return without_marks(text)

    def frame(self) -> pd.DataFrame:
        """Return readable rows, then unreadable ones.

        Raises:
            InputError: there are only unreadable ones; the first one's message
        """
        if self._first and not self.rows:
            raise self._first
        result = layout.frame([*self.rows, *self._unreadable])
        notes = [sentence.format(n=n) for sentence, n in self.notes.items() if n]
        result.attrs["notes"] = [*result.attrs.get("notes", []), *notes]
        return result

    def _relative(self, text: str) -> str:
        return text.replace(f"{self.root}/", "")
