"""Folds: who is tested by which, and each fold's development part, drawn from its training speakers.

An utterance takes part where it has an emotion or an attribute, and no split of its own that is a test or unlabelled;
its split is then ``folds``. An official test set stays one, predicted by the mean of the folds' models.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline_lib.corpus import allocation, subsets
from pipeline_lib.corpus.leaks import SCORED
from pipeline_lib.corpus.splits import carried, known_speakers
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, indices
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.split import SplitSettings
from pipeline_lib.tables.fold_names import DEVELOPMENT, SPLIT, name_of

KEY = "corpus.split.folds"
UTTERANCES = "to deal out utterances instead set corpus.split.folds.by: utterances"
NO_FOLD = -1


def split(frame: pd.DataFrame) -> np.ndarray:
    """Return the split of each row: ``folds``, a test of its own, or ``unlabelled``, object, shape ``(n,)``.

    Args:
        frame: see ``layout``
    """
    own = frame["split"].map(lambda name: name if name and SCORED.fullmatch(name) else "unlabelled")
    outside = frame["split"].map(lambda name: bool(name) and (name == "unlabelled" or bool(SCORED.fullmatch(name))))
    has = frame["emotion"].notna() | frame[list(ATTRIBUTES)].notna().any(axis=1)
    return np.where(has & ~outside, SPLIT, own).astype(object)


def draw(frame: pd.DataFrame, settings: SplitSettings, labels: Sequence[str]) -> np.ndarray:
    """Return the fold that tests each row, int64, shape ``(n,)``; -1 outside of the folds and of rejected rows.

    Args:
        frame: see ``layout``, with the split of ``split``
        settings: ``folds`` and ``seed``
        labels: scored emotions

    Raises:
        InputError: too few units, a row without speaker or without its fold, or a label that one fold alone would have
    """
    inside = (frame["split"] == SPLIT) & frame["reject"].isna()
    rows, folds = frame[inside].drop_duplicates("utterance_id"), settings.folds
    if rows.empty:
        raise InputError("corpus.split.method is folds, and no utterance has an emotion or an attribute to fold")
    if folds.by == "column":
        drawn = _by_column(rows, folds.column)
    elif folds.by == "utterances":
        drawn = _by_utterances(rows, int(folds.k), settings.seed)
    elif folds.by == "assignment":
        drawn = _by_assignment(rows, folds.assignment)
    else:
        drawn = _by_speakers(rows, settings, labels)
    check(rows.assign(fold=drawn), labels)
    of_id = pd.Series(drawn, index=rows["utterance_id"])
    return frame["utterance_id"].where(inside).map(of_id).fillna(NO_FOLD).to_numpy(dtype=np.int64)


def keep_copies_together(frame: pd.DataFrame) -> np.ndarray:
    """Return the folds, rows of the same samples without a speaker in that of the first of them, shape ``(n,)``.

    Args:
        frame: with ``fold``, ``speaker`` and ``sound``, a digest of the decoded samples
    """
    movable = (frame["fold"] != NO_FOLD) & frame["sound"].notna() & frame["speaker"].isna()
    result = frame["fold"].to_numpy(dtype=np.int64).copy()
    alike = frame[movable].groupby("sound", sort=False)["fold"]
    result[movable.to_numpy()] = alike.transform("first").to_numpy(dtype=np.int64)
    return result


def check(frame: pd.DataFrame, labels: Sequence[str]) -> None:
    """Refuse a fold that tests nothing, or whose training part lacks a label.

    Args:
        frame: with ``fold``, -1 outside of the folds, and ``emotion``
        labels: scored emotions

    Raises:
        InputError: names the fold, the label and the counts
    """
    fold = frame["fold"].to_numpy(dtype=np.int64)
    for number in range(fold.max() + 1):
        if not (fold == number).any():
            raise InputError(f"{name_of(number)} has no usable utterance to test: set {KEY}.k lower")
    inside = frame[fold != NO_FOLD]
    for label in labels:
        carriers = sorted(set(inside["fold"][inside["emotion"] == label]))
        if not carriers:
            raise InputError(
                f"label {label!r} has no utterance in the folds, so that nothing can learn it; leave it out of"
                " corpus.labels, or merge it (corpus.merge)"
            )
        if len(carriers) == 1:
            raise InputError(
                f"all {(inside['emotion'] == label).sum()} utterances of label {label!r} are tested by"
                f" {name_of(carriers[0])} ({_who(inside[inside['emotion'] == label])}), so that its model cannot learn"
                f" it; leave it out of corpus.labels, merge it (corpus.merge), or, {UTTERANCES}"
                " and, where speakers are known, corpus.allow_speaker_leak: true"
            )


def warnings(frame: pd.DataFrame, settings: SplitSettings, labels: Sequence[str]) -> list[str]:
    """Return sentences on how the folds were made and on what a fold lacks.

    Args:
        frame: with ``fold``, ``split`` and ``emotion``
        settings: ``folds``
        labels: scored emotions
    """
    inside = frame[frame["fold"] != NO_FOLD]
    result = []
    if settings.folds.by == "utterances":
        unknown = int(inside["speaker"].isna().sum())
        result.append(f"folds are of utterances: {unknown} have no known speaker, and a voice may be on both sides.")
    tests = sorted({name for name in frame["split"] if SCORED.fullmatch(name)})
    if tests:
        n = int(frame["split"].isin(tests).sum())
        result.append(f"{n} utterances stay in {', '.join(tests)}, which the mean of the folds' models predicts.")
    lacking = []
    for number in range(inside["fold"].max() + 1):
        present = set(inside["emotion"][inside["fold"] == number])
        absent = [label for label in labels if label not in present]
        lacking += [f"{name_of(number)} {', '.join(absent)}"] if absent else []
    if lacking:
        shown = "; ".join(lacking[:5]) + ("; ..." if lacking[5:] else "")
        result.append(f"{len(lacking)} folds have none of a label to test ({shown}): scores are of all folds together.")
    return result


def with_subsets(
    frame: pd.DataFrame, settings: CorpusSettings, labels: Sequence[str]
) -> tuple[list[list[str]], dict[str, int], list[str]]:
    """Return the subsets of each row that folds make, the smallest count of labels short in ``dev_bal``, and warnings.

    Args:
        frame: usable rows sorted by utterance_id, with ``fold`` and ``sound``
        settings: the section ``corpus``
        labels: scored emotions
    """
    fold = frame["fold"].to_numpy(dtype=np.int64)
    names: list[list[str]] = [[] if number == NO_FOLD else [name_of(number)] for number in fold]
    smallest: dict[str, int] = {}
    by_utterances, poor = [], []
    for number in range(fold.max() + 1):
        is_dev, whole = _development(frame, fold, number, settings, labels)
        by_utterances += [] if whole else [name_of(number)]
        seen = frame.assign(split=np.where(is_dev, "dev", "other"))
        balanced, short = subsets.dev_bal(seen, labels, settings.dev_bal)
        smallest |= {label: min(n, smallest.get(label, n)) for label, n in short.items()}
        poor += [f"{name_of(number)} {label}" for label, n in short.items() if n == 0]
        masks = (is_dev, subsets.dev_filt(seen, labels), balanced)
        for part, mask in zip(DEVELOPMENT, masks, strict=True):
            for row in np.flatnonzero(mask):
                names[row].append(f"{name_of(number)}_{part}")
    messages = []
    if by_utterances and settings.split.folds.by != "utterances" and frame["speaker"][fold != NO_FOLD].notna().all():
        messages.append(
            f"{len(by_utterances)} folds ({', '.join(by_utterances[:5])}{', ...' if by_utterances[5:] else ''}) develop"
            " on utterances of speakers they train on: no choice of whole speakers leaves every label in both parts."
        )
    if poor:
        shown = "; ".join(poor[:5]) + ("; ..." if poor[5:] else "")
        messages.append(f"development parts without a label, of which there is too little: {shown}.")
    return names, smallest, messages


def _development(
    frame: pd.DataFrame, fold: np.ndarray, number: int, settings: CorpusSettings, labels: Sequence[str]
) -> tuple[np.ndarray, bool]:
    """Return a fold's development part, bool, shape ``(n,)``, and whether it is of whole units."""
    split = settings.split
    train = (fold != NO_FOLD) & (fold != number)
    rows, shares = frame[train], (1 - split.folds.dev_share, split.folds.dev_share)
    result = np.zeros(len(frame), dtype=bool)
    names = None if split.folds.by == "utterances" or rows["speaker"].isna().any() else _units(rows, split)
    if names is not None and names.nunique() > 1:
        units = allocation.units_of(rows, names, labels)
        n_dev = min(max(1, round(shares[1] * len(units.names))), len(units.names) - 1)
        start = np.zeros(len(units.names), dtype=np.int64)
        start[pd.Index(units.names).get_indexer(allocation.ordered(units.names, split.seed)[:n_dev])] = 1
        parts = allocation.allocate(units, shares, start, seed=split.seed)
        if not allocation.lacking(units, parts, 2).any():
            result[train] = parts[units.rows(names)] == 1
            return result, True
    result[train] = _share_of_each_label(rows, labels, split)
    return result, False


def _share_of_each_label(rows: pd.DataFrame, labels: Sequence[str], split: SplitSettings) -> np.ndarray:
    """Return a mask of a share of each label's recordings, one or more, of which training keeps one or more."""
    units = rows["sound"].where(rows["sound"].notna(), rows["utterance_id"])
    once = pd.DataFrame({"unit": units, "truth": indices(rows["emotion"].tolist(), labels)}).drop_duplicates("unit")
    chosen: set[str] = set()
    for truth, members in once.groupby("truth", sort=True)["unit"]:
        n = min(max(1 if truth >= 0 else 0, round(split.folds.dev_share * len(members))), len(members) - 1)
        chosen |= {*allocation.ordered(members.tolist(), split.seed)[:n]}
    return units.isin(chosen).to_numpy()


def _units(rows: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Return the groups where there are at least k, the speakers elsewhere.

    Raises:
        InputError: a row has no speaker
    """
    folds = settings.folds
    grouped = folds.by == "speakers" and rows["group"].notna().all() and isinstance(folds.k, int)
    if grouped and rows["group"].nunique() >= int(folds.k) - 1:  # a training part lacks one fold
        return rows["group"]
    return known_speakers(rows, f"{KEY}.by 'speakers'")


def _by_speakers(rows: pd.DataFrame, settings: SplitSettings, labels: Sequence[str]) -> np.ndarray:
    if rows["speaker"].isna().any():
        unknown = int(rows["speaker"].isna().sum())
        raise InputError(
            f"corpus.split.folds.by is speakers, and {unknown} of {len(rows)} utterances have none,"
            f" {rows['utterance_id'][rows['speaker'].isna()].iloc[0]!r} first; {UTTERANCES}"
        )
    k = settings.folds.k
    grouped = isinstance(k, int) and rows["group"].notna().all() and rows["group"].nunique() >= k
    names, what = (rows["group"], "groups") if grouped else (rows["speaker"], "speakers")
    units = allocation.units_of(rows, names, labels)
    alone = [label for label, n in zip(labels, (units.labels > 0).sum(axis=0), strict=True) if n == 1]
    if alone:
        raise InputError(
            f"labels of which one of the {what} has all utterances cannot be tested by speakers, since nobody else has"
            f" them to learn from: {carried(rows, names, alone, what)}; leave them out of corpus.labels, merge them"
            f" (corpus.merge), or, {UTTERANCES} with corpus.allow_speaker_leak: true"
        )
    if k == "loso":
        order = {name: i for i, name in enumerate(sorted(units.names, key=_natural))}
        if len(order) < 2:
            raise InputError(f"{KEY}.k is loso, the corpus has one speaker; {UTTERANCES}")
        return names.map(order).to_numpy(dtype=np.int64)
    if len(units.names) < k:
        raise InputError(f"{KEY}.k is {k}, the corpus has {len(units.names)} speakers: set it lower, or, {UTTERANCES}")
    start = allocation.deal(units.names, units.genders, k, settings.seed)
    return allocation.allocate(units, [1 / k] * k, start, seed=settings.seed)[units.rows(names)]


def _by_utterances(rows: pd.DataFrame, k: int, seed: int) -> np.ndarray:
    if len(rows) < k:
        raise InputError(f"{KEY}.k is {k}, {len(rows)} utterances have an emotion or an attribute")
    return allocation.deal(rows["utterance_id"].tolist(), rows["emotion"].fillna("").tolist(), k, seed)


def _by_column(rows: pd.DataFrame, column: str) -> np.ndarray:
    missing = rows["group"].isna()
    if missing.any():
        raise InputError(
            f"{missing.sum()} of {len(rows)} utterances that take part have no {column!r},"
            f" {rows['utterance_id'][missing].iloc[0]!r} first (corpus.split.folds.column); expected the name of a fold"
        )
    values = sorted(set(rows["group"]), key=_natural)
    if len(values) < 2:
        raise InputError(
            f"{column!r} is {values[0]!r} on every utterance (corpus.split.folds.column), expected 2 folds"
        )
    return rows["group"].map({value: i for i, value in enumerate(values)}).to_numpy(dtype=np.int64)


def _by_assignment(rows: pd.DataFrame, assignment: Sequence[Sequence[str]]) -> np.ndarray:
    speakers = known_speakers(rows, f"{KEY}.by 'assignment'")
    fold_of = {speaker: fold for fold, names in enumerate(assignment) for speaker in names}
    absent, unnamed = sorted({*fold_of} - {*speakers}), sorted({*speakers} - {*fold_of})
    if absent or unnamed:
        raise InputError(
            f"{KEY}.assignment names {absent} without a usable utterance and leaves out {unnamed}; expected each of the"
            f" {speakers.nunique()} speakers once, spelt as the column speaker has them"
        )
    return speakers.map(fold_of).to_numpy(dtype=np.int64)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which fold2 comes before fold10."""
    parts = re.findall(r"(\d+)|(\D+)", name, flags=re.ASCII)
    return [(0, int(digits), digits) if digits else (1, 0, text) for digits, text in parts]


def _who(rows: pd.DataFrame) -> str:
    """Return the speakers of rows: up to three names, or how many."""
    names = sorted(set(rows["speaker"].dropna()))
    return ", ".join(names) if 0 < len(names) <= 3 else f"{len(names)} speakers"
