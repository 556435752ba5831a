"""Several corpora in one manifest: each read by its own reader in its own folder below ``corpus.root``.

Names of utterances, speakers and groups begin with the corpus's, ``ravdess/Actor_01``, and paths with its folder, so
that none collide. The corpus's name is a subset of its utterances, by which ``scoring.splits`` can name it, and, with
``split.folds.by: column``, its fold: leave one corpus out. Emotions that a corpus calls otherwise are merged in its
own entry. Attributes are brought to [1, 7] by a straight line through the ends of the scales, which is printed.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from pipeline_lib.corpus import checksums, emotions, layout
from pipeline_lib.corpus.readers import READERS
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.corpus import CorpusSettings, part_of

CUSTOM = layout.Custom(labels=None)
NAMED = ("utterance_id", "speaker", "group", "dialogue")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each utterance of every corpus; see ``layout``.

    Args:
        root: folder above those of the corpora
        settings: the section ``corpus`` of params.yaml

    Raises:
        InputError: see the readers, and ``emotions.check_merge``; the message names the corpus
    """
    frames, notes = [], []
    for name in settings.corpora:
        own = part_of(settings, name)
        try:
            frame = _read(own)
        except InputError as error:
            message = str(error).replace("corpus.merge", f"corpus.corpora.{name}.merge")
            raise InputError(f"corpus.corpora.{name}: {message}") from None
        notes += [f"{name}: {note}" for note in frame.attrs.pop("notes", [])]
        notes += _scaled(frame, name, own.attribute_scale or READERS[own.reader].CUSTOM.attribute_scale)
        if settings.split.method != "official":
            frame["split"] = pd.Series([None] * len(frame), index=frame.index, dtype=object)
        frames.append(_named(frame, name, PurePosixPath(Path(own.root).relative_to(root).as_posix())))
        if settings.split.folds.by == "column":
            frames[-1]["group"] = name
    joined = pd.concat(frames, ignore_index=True)
    joined.attrs["notes"] = notes
    return joined


def sums(root: Path, settings: CorpusSettings) -> tuple[dict[str, str] | None, list[str]]:
    """Return the SHA-256 of each path below the root, of all corpora or of none, and sentences on unused ones.

    Args:
        root: folder above those of the corpora; its own SHA256SUMS comes first
        settings: the section ``corpus``
    """
    if (whole := checksums.read(root)) is not None:
        return whole, []
    folders = {name: Path(part_of(settings, name).root) for name in settings.corpora}
    read = {name: checksums.read(folder) for name, folder in folders.items()}
    present = {name: each for name, each in read.items() if each is not None}
    for name, each in present.items():
        checksums.check_labels(folders[name], each)
    if len(present) < len(read):
        without = ", ".join(name for name in read if name not in present)
        unused = f"recordings are not verified: {checksums.SUMS} of {', '.join(present)} is there, of {without} is not"
        return None, [f"{unused} (ser checksums {root})."] if present else []
    return _below(root, folders, present), []


def _below(root: Path, folders: Mapping[str, Path], of_each: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        (PurePosixPath(folders[name].relative_to(root).as_posix()) / path).as_posix(): digest
        for name, each in of_each.items()
        for path, digest in each.items()
    }


def _read(own: CorpusSettings) -> pd.DataFrame:
    """Return the rows of one corpus, its emotions merged."""
    reader: Any = READERS[own.reader]
    frame = reader.read(Path(own.root), own)
    emotions.check_merge(frame, own.merge or {})
    merged = emotions.merged(frame, emotions.merges(reader.CUSTOM, own))
    merged.attrs = frame.attrs
    return merged


def _scaled(frame: pd.DataFrame, name: str, scale: tuple[float, float] | list[float]) -> list[str]:
    """Bring attributes to the scale of all, in place; return a sentence where any moves."""
    (low, high), (first, last) = scale, CUSTOM.attribute_scale
    has = frame[list(ATTRIBUTES)].notna().any(axis=1)
    if (low, high) == (first, last) or not has.any():
        return []
    for attribute in ATTRIBUTES:
        frame[attribute] = first + (frame[attribute] - low) * (last - first) / (high - low)
    return [f"{name}: attributes of {has.sum()} utterances are brought from [{low:g}, {high:g}] to [1, 7]."]


def _named(frame: pd.DataFrame, name: str, folder: PurePosixPath) -> pd.DataFrame:
    """Return the rows with names and paths that no other corpus has."""
    columns = {column: _prefixed(frame[column], name) for column in NAMED}
    columns |= {column: _prefixed(frame[column], folder.as_posix()) for column in ("audio", "video")}
    subsets = [sorted({*subsets, name}) for subsets in frame["subsets"]]
    return frame.assign(**columns, subsets=pd.Series(subsets, index=frame.index, dtype=object))


def _prefixed(values: pd.Series, name: str) -> pd.Series:
    prefixed = [f"{name}/{value}" if isinstance(value, str) else None for value in values]
    return pd.Series(prefixed, index=values.index, dtype=object)
