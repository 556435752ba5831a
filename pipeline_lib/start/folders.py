"""Folders named by emotion: a row for each recording, its label from a folder, its speaker from a pattern."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline_lib.corpus.layout import gender
from pipeline_lib.errors import InputError
from pipeline_lib.start.labels import emotion_of
from pipeline_lib.start.splits import SPLIT_OF

# names of speakers that begin with a word of their own, SM1, spk03, Actor_07; or with m and f, if both occur
MARKED = re.compile(r"(?:spkr?|speaker|actor|actress|subject|subj|participant|sm|sf)[_-]?\d+", re.IGNORECASE)
GENDERED = re.compile(r"[mf]\d+", re.IGNORECASE)
SPEAKERS = "speakers"  # how the note on them begins
FOLDER = "folder"  # in place of a column's name
FEWEST = 3  # recordings of a speaker, in the mean: names that occur less often number recordings
STRAYS = 0.1  # share of the recordings that may lie elsewhere than in folders named by emotion


def level(paths: Sequence[str]) -> int | None:
    """Return which folder of the paths, counted from the root, is named by emotion; None where none is.

    Args:
        paths: of recordings, relative to the root
    """
    parts = [PurePosixPath(path).parent.parts for path in paths]
    best, most = None, 0.0
    for i in range(max(map(len, parts), default=0)):
        names = Counter(each[i] for each in parts if len(each) > i)
        known = sum(n for name, n in names.items() if emotion_of(name) is not None) / len(parts)
        if known > most and len({emotion_of(name) for name in names} - {None}) > 1:
            best, most = i, known
    return best if most >= 0.5 else None


def rows(
    root: Path, paths: Sequence[str], speaker: str | None, label: str | None = None
) -> tuple[list[dict[str, str]], list[str]]:
    """Return a row for each recording in a folder named by emotion, and notes.

    Args:
        root: folder of the corpus, for messages
        paths: of recordings, relative to it
        speaker: regular expression whose first group, or whole match, in the path is the speaker; None: look for one
        label: "folder": the names of the folders are labels, known emotions or not

    Raises:
        InputError: no folder is named by emotion, or recordings lie beside such folders
    """
    any_name = label == FOLDER
    folders = {path: PurePosixPath(path).parent.parts for path in paths}
    at = level(paths)
    if at is None and any_name and all(folders.values()):
        at = min(map(len, folders.values())) - 1
    if at is None:
        raise _no_label(root, paths)
    used = [p for p in paths if len(folders[p]) > at and (any_name or emotion_of(folders[p][at]) is not None)]
    strays = sorted({*paths} - {*used})
    if len(strays) > STRAYS * len(paths):
        raise InputError(
            f"{root} is mixed: {len(used)} recordings lie in folders named by emotion and {len(strays)} do not,"
            f" {strays[0]!r} first; move these away, or name every folder's name a label: --label {FOLDER}"
        )
    passed = f"{len(strays)} recordings outside folders named by emotion are passed over, {[*strays, ''][0]!r} first"
    notes = [passed] if strays else []
    speakers, how = _speakers(used, speaker)
    result = []
    for path in used:
        others = [part for i, part in enumerate(folders[path]) if i != at]
        row = {"audio": path, "emotion": folders[path][at].strip(), "speaker": speakers.get(path, "")}
        row["split"] = next((SPLIT_OF[part.casefold()] for part in others if part.casefold() in SPLIT_OF), "")
        row["gender"] = next((part for part in map(gender, others) if part in ("female", "male")), "")
        result.append(row)
    return result, [*notes, how]


def _speakers(paths: Sequence[str], pattern: str | None) -> tuple[dict[str, str], str]:
    """Return path -> speaker and a sentence on where they come from."""
    if pattern is not None:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--speaker {pattern!r} is no regular expression: {error}") from None
        matches = {path: expression.search(path) for path in paths}
        without = [path for path, match in matches.items() if match is None]
        if without:
            raise InputError(f"--speaker {pattern!r} matches {without[0]!r} nowhere, and {len(without) - 1} others")
        return {p: (m[1] if m.re.groups else m[0]) for p, m in matches.items() if m}, f"{SPEAKERS} by {pattern!r}"
    pieces = {path: _pieces(path) for path in paths}
    for i in range(min(map(len, pieces.values()), default=0)):
        names = [pieces[path][i] for path in paths]
        n = len({*names})
        gendered = all(map(GENDERED.fullmatch, names)) and len({name[0].lower() for name in names}) == 2
        if (gendered or all(map(MARKED.fullmatch, names))) and 2 <= n <= len(paths) / FEWEST:
            return {path: pieces[path][i] for path in paths}, f"{SPEAKERS} from the paths, {names[0]!r} for example"
    unknown = f"{SPEAKERS} not marked by any part of the paths (--speaker 'REGEX' names one)"
    return {}, unknown


def _pieces(path: str) -> list[str]:
    """Return a path's folders, then the pieces of its name; Actor_01 is one piece."""
    file = PurePosixPath(path)
    stem = re.sub(r"(?<=[A-Za-z])[_-](?=\d)", "", file.stem)
    return [*file.parent.parts, *re.split(r"[_\-. ]+", stem)]


def _no_label(root: Path, paths: Sequence[str]) -> InputError:
    folders = Counter(str(PurePosixPath(path).parent) for path in paths)
    named = ", ".join(name for name, _ in folders.most_common(8))
    return InputError(
        f"{root} holds {len(paths)} recordings, no layout that is known, no table with labels and no folders named by"
        f" emotion (folders: {named}); where the folders are labels say --label {FOLDER}, else write a table with the"
        " columns audio and emotion, and give its path"
    )
