"""What lies in a folder or a table: utterances, labels, speakers, text, hours."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.collect import READERS
from pipeline_lib.corpus.items import UNREADABLE
from pipeline_lib.corpus.losses import word
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, PSEUDO
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.start import audformat, folders, labels, layouts, own_table, table_file
from pipeline_lib.start.recordings import PROBED, Recordings, hours_of

BY_FOLDER = "folders named by emotion"
LEAST = 5  # utterances of a scored label: each part of a corpus must have some


@dataclass(frozen=True)
class Corpus:
    """What a corpus holds.

    Attributes:
        root: its folder
        reader: ``corpus.reader``
        kind: how it was recognised, for the terminal
        frame: a row for each utterance, with the manifest's columns as far as they are read, and fold; labels merged
        settings: further keys of the section ``corpus``
        labels: scored emotions, in order
        left_out: label -> number of utterances that are not scored
        text: content of the table that is to be written, None where the corpus is read as it is
        hours: of sound, by headers; 0 without sound
        longest_s: of a recording
        notes: sentences for the terminal
    """

    root: Path
    reader: str
    kind: str
    frame: pd.DataFrame
    settings: dict[str, Any]
    labels: tuple[str, ...]
    left_out: dict[str, int]
    text: str | None
    hours: float
    longest_s: float
    notes: list[str] = field(default_factory=list)

    @property
    def has_audio(self) -> bool:
        """Whether an utterance has a recording."""
        return bool(self.frame["audio"].notna().any())


def inspect(target: Path, root: Path | None, given: Mapping[str, str | None]) -> Corpus:
    """Return what a folder or table holds.

    Args:
        target: the folder or table
        root: folder of the recordings of a table, None: see ``own_table``
        given: meaning -> column that the user names (of a folder, speaker is a pattern), None where it is left open

    Raises:
        InputError: nothing is there, or nothing says which emotion a recording has
    """
    if target.is_file():
        return _of_table(own_table.read(target, root, given), f"the table {target.name}")
    if not target.is_dir():
        raise InputError(f"{target} does not exist, expected the folder or the table of a corpus")
    paths = Recordings(target).paths
    native = layouts.recognise(target, paths)
    if native is not None and not _contradicts(target, paths, *native):
        return _of_reader(*native)
    if (target / "db.yaml").is_file():
        return _of_table(audformat.read(target), "audformat")
    tables = sorted(p for p in target.iterdir() if p.suffix.lower() in table_file.SUFFIXES and p.is_file())
    by_folder = given.get("emotion") == folders.FOLDER
    usable = [] if by_folder else [path for path in tables if own_table.is_table(path, given)]
    if len(usable) > 1:
        raise InputError(f"{target} holds the tables {[path.name for path in usable]}: give the path of one")
    is_by_folder = bool(paths) and (by_folder or folders.level(paths) is not None)
    if not usable and len(tables) == 1 and not is_by_folder:
        usable = tables  # its error says which column is missing
    if usable:
        return _of_table(own_table.read(usable[0], target, given), f"the table {usable[0].name}")
    if not paths:
        raise InputError(f"{target} holds neither recordings ({' '.join(layout.AUDIO_SUFFIXES)}) nor one table of them")
    rows, notes = folders.rows(target, paths, given.get("speaker"), given.get("emotion"))
    names = tuple(name for name in own_table.ORDER if any(row.get(name) for row in rows))
    notes += [f"{path.name} has no labels and is not read" for path in tables]
    return _of_table(own_table.OwnTable(target.resolve(), None, rows, names, notes, []), BY_FOLDER)


def _contradicts(target: Path, paths: Sequence[str], reader: str, root: Path) -> bool:
    """Return whether folders named by emotion say otherwise than the names of the recordings in them."""
    if reader not in layouts.NAMES or (at := folders.level(paths)) is None:
        return False
    frame = READERS[reader].read(root, CorpusSettings.parse(_settings(reader, root), "corpus"))
    says = [
        (labels.emotion_of(Path(path).parts[at]), labels.emotion_of(emotion) or emotion)
        for path, emotion in zip(frame["audio"], frame["emotion"])
        if isinstance(path, str) and isinstance(emotion, str) and len(Path(path).parts) > at + 1
    ]
    other = sum(folder is not None and folder != name for folder, name in says)
    return other > (1 - layouts.SHARE) * len(says)


def _settings(reader: str, root: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {"reader": reader, "root": str(root)}
    if reader == "crema_d":
        votes = [root / folder / "tabulatedVotes.csv" for folder in ("", "processedResults")]
        if not any(path.is_file() for path in votes):
            settings["crema_d"] = {"emotion": "intended"}
    return settings


def _of_reader(reader: str, root: Path) -> Corpus:
    """Return a corpus in its native layout, read by its reader."""
    root = root.resolve()
    settings = _settings(reader, root)
    module = READERS[reader]
    frame = module.read(root, CorpusSettings.parse(settings, "corpus"))
    notes = [note.rstrip(".") for note in frame.attrs.get("notes", [])]
    if settings.get("crema_d"):
        notes.append("tabulatedVotes.csv is not there: emotions are those that the actors were asked to show")
    bad = frame["reject"].map(lambda reason: word(str(reason)) in UNREADABLE)
    notes += [f"{int(bad.sum())} files are not read, {frame['audio'][bad].iloc[0]!r} first"] if bad.any() else []
    frame = frame[~bad].reset_index(drop=True)
    lacking = [path for path in frame["audio"].dropna() if not (root / path).is_file()]
    if lacking:
        most = "above 5 % of them the corpus stage stops (corpus.max_quarantined)"
        notes.append(f"{len(lacking)} of {len(frame)} recordings are missing, {lacking[0]!r} first; {most}")
    merge = module.CUSTOM.merge
    frame["emotion"] = frame["emotion"].map(lambda name: merge.get(name, name), na_action="ignore")
    frame["fold"] = None
    custom = tuple(dict.fromkeys(merge.get(name, name) for name in module.CUSTOM.labels or ()))
    scored, left_out = _scored(frame, [name for name in custom if name in {*frame["emotion"]}] or None)
    del settings["reader"], settings["root"]
    if scored != custom:
        settings["labels"] = list(scored)
    return _measured(root, reader, f"{layouts.TITLES[reader]}'s layout", frame, settings, scored, left_out, None, notes)


def _of_table(table: own_table.OwnTable, kind: str) -> Corpus:
    """Return a corpus of a table, as it is or to be written anew."""
    rows = table.rows
    settings: dict[str, Any] = {}
    merge = labels.merge({row["emotion"] for row in rows if row.get("emotion")})
    frame = layout.frame([_typed(row, i) for i, row in enumerate(rows)])
    frame["fold"] = [row.get("fold") or None for row in rows]
    frame["emotion"] = [merge.get(name, name) if isinstance(name, str) else None for name in frame["emotion"]]
    scored, left_out = _scored(frame, None)
    settings["merge"] = merge or None
    if left_out:
        settings["labels"] = list(scored)
    attribute_scale = own_table.scale(rows)
    if attribute_scale not in (None, (1.0, 7.0)):
        settings["attribute_scale"] = list(attribute_scale or ())
    if table.file is not None:
        settings["table"] = {"file": table.file}
    text = table_file.text_of(rows, table.columns) if table.file is None else None
    notes = [f"read otherwise than written: {'; '.join(table.notes)}"] if table.notes else []
    if kind == BY_FOLDER:
        notes = list(table.notes)
    notes += [f"columns not read: {', '.join(table.unread)}"] if table.unread else []
    if places := own_table.positions(table.unread):
        notes.append(f"{', '.join(places)} may name a part of a recording or a channel: whole recordings are read")
    return _measured(table.root, "table", kind, frame, settings, scored, left_out, text, notes)


def _typed(row: Mapping[str, str], i: int) -> dict[str, Any]:
    """Return the cells of a row as the manifest has them."""
    values: dict[str, Any] = {name: row.get(name) or None for name in own_table.ORDER if name in layout.COLUMNS}
    for name in ("start_s", "end_s", *ATTRIBUTES):
        values[name] = float(row[name]) if _is_float(row.get(name)) else np.nan
    if _is_float(row.get("offset")) and _is_float(row.get("duration")):
        values |= {"start_s": float(row["offset"]), "end_s": float(row["offset"]) + float(row["duration"])}
    values["subsets"] = []
    values["utterance_id"] = row.get("utterance_id") or row.get("audio") or f"row_{i}"
    return values


def _is_float(cell: str | None) -> bool:
    try:
        return bool(cell) and np.isfinite(float(cell or ""))
    except ValueError:
        return False


def _scored(frame: pd.DataFrame, order: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the scored labels, and those left out: too few utterances, or no emotion.

    Raises:
        InputError: fewer than two labels are left, and there are no attributes
    """
    counts = Counter(name for name in frame["emotion"] if isinstance(name, str) and name not in PSEUDO)
    out = {name: n for name, n in counts.items() if n < LEAST or labels.folded(name) in labels.NO_LABEL}
    names = [name for name in (order or sorted(counts)) if name not in out]
    names = names if order else [*(n for n in labels.LETTERS.values() if n in names)] + [
        name for name in names if name not in labels.LETTERS.values()
    ]  # fmt: skip
    if len(names) < 2 and not frame[list(ATTRIBUTES)].notna().any().any():
        raise InputError(
            f"{names or 'no label'} alone has {LEAST} utterances or more, expected two labels (counts: {dict(counts)})"
        )
    left = dict(sorted(out.items())) if order is None else {n: c for n, c in out.items() if n in order}
    return tuple(names), left


def _measured(
    root: Path,
    reader: str,
    kind: str,
    frame: pd.DataFrame,
    settings: dict[str, Any],
    scored: tuple[str, ...],
    left_out: dict[str, int],
    text: str | None,
    notes: list[str],
) -> Corpus:
    """Return the corpus with the length of its recordings."""
    used = sorted({path for path in frame["audio"] if isinstance(path, str) and (root / path).is_file()})
    hours, bad, longest = hours_of(root, used)
    notes += [f"hours are estimated from every {-(-len(used) // PROBED)}th recording"] if len(used) > PROBED else []
    if bad:
        notes.append(
            f"{sum(bad.values())} recordings cannot be opened ({', '.join(f'{w} {n}' for w, n in bad.items())})"
        )
    segments = (frame["end_s"] - frame["start_s"].fillna(0.0)).dropna()
    if len(segments):
        hours, longest = float(segments.sum()) / 3600, float(segments.max())
    return Corpus(root, reader, kind, frame, settings, scored, left_out, text, hours, longest, notes)
