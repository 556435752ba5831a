"""Scored emotions: those that the settings or the corpus merge and name, each with examples to learn from."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.identity import composed
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, PRIMARY, PSEUDO
from pipeline_lib.params.corpus import CorpusSettings


def merged(frame: pd.DataFrame, merge: Mapping[str, str]) -> pd.DataFrame:
    """Return the frame with emotions and votes merged.

    Args:
        frame: see ``layout``
        merge: emotion -> the emotion that it counts as
    """
    if not merge:
        return frame
    emotions = frame["emotion"].map(lambda emotion: merge.get(emotion, emotion) if emotion else None)
    votes = frame["votes"].map(lambda cast: _merged_votes(cast, merge) if isinstance(cast, dict) else None)
    return frame.assign(emotion=emotions.astype(object), votes=votes.astype(object))


def check_labels(frame: pd.DataFrame, labels: Sequence[str]) -> None:
    """Refuse labels on which nothing could be trained.

    Args:
        frame: see ``layout``; every row has a split
        labels: scored emotions

    Raises:
        InputError: a label that no utterance has, or none of the split train
    """
    present = sorted(frame["emotion"].dropna().unique())
    train = frame["split"] == "train"
    for label in labels:
        if label not in present:
            near = get_close_matches(label, present, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"label {label!r} is on no utterance{meant}; corpus.labels may name {present}")
        if train.any() and not (train & (frame["emotion"] == label)).any():
            raise InputError(
                f"label {label!r} has no utterance in train, so nothing can learn it; leave it out of corpus.labels,"
                " merge it, or cut the corpus otherwise (corpus.split)"
            )


def check_scale(root: Path, frame: pd.DataFrame, scale: Sequence[float]) -> None:
    """Mark rows with attributes off the corpus's scale for the quarantine, in place.

    Args:
        root: folder of the corpus, for messages
        frame: see ``layout``; ``reject`` is written
        scale: lowest and highest value

    Raises:
        InputError: more than half are off, so that another scale was used; names the first and their number
    """
    for name in ATTRIBUTES:
        off = (frame[name] < scale[0]) | (frame[name] > scale[1])
        expected = f"the corpus's scale goes from {scale[0]:g} to {scale[1]:g}"
        if off.any() and 2 * off.sum() > frame[name].notna().sum():
            first = f"of {frame['utterance_id'][off].iloc[0]!r} {name} is {frame[name][off].iloc[0]:g}"
            raise InputError(f"{root}: {first}, {expected} ({off.sum()} utterances)")
        for row in frame.index[off & frame["reject"].isna()]:
            frame.loc[row, "reject"] = f"off scale: {name} is {frame[name][row]:g}, {expected}"


def check_merge(frame: pd.DataFrame, merge: Mapping[str, str]) -> None:
    """Refuse to merge an emotion that no utterance has.

    Args:
        frame: see ``layout``
        merge: emotion -> the emotion that it counts as

    Raises:
        InputError: names it, the nearest emotion of the corpus, and all of them
    """
    voted = {label for cast in frame["votes"] if isinstance(cast, dict) for label in cast}
    known = sorted({*frame["emotion"].dropna(), *voted})
    for old in map(composed, merge):
        if old not in known:
            near = get_close_matches(old, known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"corpus.merge names {old!r}, which is on no utterance{meant}; the corpus has {known}")


def merges(custom: layout.Custom, settings: CorpusSettings) -> dict[str, str]:
    """Return the emotions to merge; the corpus's custom yields to labels that are named.

    Args:
        custom: the reader's defaults
        settings: the section ``corpus``

    Returns:
        emotion -> the emotion that it counts as
    """
    if settings.merge is not None:
        return {composed(old): composed(new) for old, new in settings.merge.items()}
    return {old: new for old, new in custom.merge.items() if old not in (settings.labels or [])}


def scored(frame: pd.DataFrame, custom: layout.Custom, settings: CorpusSettings) -> tuple[str, ...]:
    """Return the scored emotions in order: the settings', the corpus's own, or those of the data.

    Args:
        frame: see ``layout``
        custom: the reader's defaults
        settings: the section ``corpus``
    """
    merge = merges(custom, settings)
    if settings.labels is not None:
        return tuple(map(composed, settings.labels))
    if custom.labels is not None:
        return tuple(dict.fromkeys(merge.get(label, label) for label in custom.labels))
    present = {*frame["emotion"].dropna()} - {*PSEUDO}
    return (*(label for label in PRIMARY if label in present), *sorted(present - {*PRIMARY}))


def _merged_votes(cast: Mapping[str, int], merge: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label, n in cast.items():
        label = merge.get(label, label)
        counts[label] = counts.get(label, 0) + n
    return counts
