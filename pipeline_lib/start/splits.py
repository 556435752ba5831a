"""The split or the folds that are proposed, and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline_lib.corpus.table_rows import OTHER_SPLITS
from pipeline_lib.params.corpus import WITH_OFFICIAL_SPLIT

PARTS = ("train", "dev", "test")
SPLIT_OF = {**{name: name for name in (*PARTS, "test1", "test2", "test3", "unlabelled")}, **OTHER_SPLITS}
SPLIT_OF |= {"test1": "test", "unlabeled": "unlabelled"}
FEW_SPEAKERS = 40  # below, a test set of a sixth of them is too few: folds test on all
FOLDS = 5
KNOWN_VOICES = "scores hold for known voices"


@dataclass(frozen=True)
class Split:
    """A proposed cut.

    Attributes:
        settings: keys of ``corpus.split``
        why: a sentence
        leak: whether speakers may cross, ``corpus.allow_speaker_leak``
        notice: a sentence that every report shows, where nothing else would say it
    """

    settings: dict[str, Any]
    why: str
    leak: bool = False
    notice: str = field(default="")

    @property
    def has_folds(self) -> bool:
        """Whether it is of folds."""
        return self.settings["method"] == "folds"


def propose(frame: pd.DataFrame, labels: Sequence[str], reader: str) -> Split:
    """Return the cut: the corpus's own where it is good, else by speakers, in folds below ``FEW_SPEAKERS`` of them.

    Args:
        frame: columns emotion, speaker, split and fold, a row for each utterance
        labels: scored emotions; empty for attributes alone
        reader: of the corpus
    """
    rows = frame[frame["emotion"].isin(labels)] if labels else frame
    if reader in WITH_OFFICIAL_SPLIT and reader != "table":
        return Split({"method": "official"}, "the corpus's official split")
    defect = own_defect(rows, labels)
    if defect is None:
        return Split({"method": "official"}, "the column split: every label in train, dev and test, no speaker crosses")
    before = f"{defect}; " if rows["split"].notna().any() else ""
    by_column = _column_folds(rows, labels)
    if by_column:
        k = rows["fold"].nunique()
        return Split(_folds(k, "column", column="fold"), f"{before}{k} folds of the column fold")
    unknown, n = int(rows["speaker"].isna().sum()), rows["speaker"].nunique()
    if unknown:
        who = "speakers are unknown" if unknown == len(rows) else f"{unknown} utterances have no speaker"
        notice = f"Cut by utterances, since {who}: {KNOWN_VOICES}."
        return Split(_folds(FOLDS, "utterances"), f"{before}{FOLDS} folds by utterances, since {who}: {KNOWN_VOICES}",
                     leak=True, notice=notice)  # fmt: skip
    rarest, least = _fewest_speakers(rows, labels) if labels else ("", n)
    if least < 3:
        who = f"{least} speaker{'s say' if least > 1 else ' says'} {rarest!r}"
        return Split(_folds(FOLDS, "utterances"), f"{before}{FOLDS} folds by utterances, since {who}: {KNOWN_VOICES}",
                     leak=True)  # fmt: skip
    if n >= FEW_SPEAKERS and least >= 6:
        return Split({"method": "speakers"}, f"{before}train, dev and test disjoint in speakers, drawn ({n} speakers)")
    k = min(FOLDS, least)
    fewer = f", as many as speakers say {rarest!r}" if k < min(FOLDS, n) else ""
    few = f"{n} are fewer than {FEW_SPEAKERS}" if n < FEW_SPEAKERS else f"only {least} say {rarest!r}"
    return Split(_folds(k, "speakers"), f"{before}{k} folds disjoint in speakers, since {few}{fewer}")


def own_defect(rows: pd.DataFrame, labels: Sequence[str]) -> str | None:
    """Return why a corpus's own split cannot be used, None where it can.

    Args:
        rows: columns emotion, speaker and split
        labels: scored emotions
    """
    if rows["split"].isna().any():
        return f"the split is not used ({int(rows['split'].isna().sum())} utterances have none)"
    for part in PARTS:
        here = rows[rows["split"] == part]
        if here.empty:
            return f"the split is not used (it has no {part})"
        lacking = sorted({*labels} - {*here["emotion"]})
        if lacking:
            return f"the split is not used ({part} has no {lacking[0]!r})"
    parts = rows["split"].where(~rows["split"].map(is_scored), "test")
    inside = parts.isin(PARTS) & rows["speaker"].notna()
    crossing = int((parts[inside].groupby(rows["speaker"][inside]).nunique() > 1).sum())
    return f"the split is not used ({crossing} speakers cross it)" if crossing else None


def is_scored(split: str) -> bool:
    """Return whether a split is one of the test sets: test, test2 ..."""
    return re.fullmatch(r"test\d*", split) is not None


def _fewest_speakers(rows: pd.DataFrame, labels: Sequence[str]) -> tuple[str, int]:
    """Return the label that the fewest speakers say, and how many do."""
    counts = rows.groupby("emotion")["speaker"].nunique()
    rarest = min(labels, key=lambda label: (counts[label], label))
    return rarest, int(counts[rarest])


def _column_folds(rows: pd.DataFrame, labels: Sequence[str]) -> bool:
    """Return whether the column fold is good: 2 to 20 values, every label in each, no speaker in two."""
    if rows["fold"].isna().any() or not 2 <= rows["fold"].nunique() <= 20:
        return False
    every = all({*labels} <= {*here["emotion"]} for _, here in rows.groupby("fold"))
    known = rows[rows["speaker"].notna()]
    return every and bool((known.groupby("speaker")["fold"].nunique() <= 1).all())


def _folds(k: int, by: str, **more: str) -> dict[str, Any]:
    return {"method": "folds", "folds": {"k": k, "by": by, **more}}
