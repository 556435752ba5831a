"""Rows that a corpus loses on its way into the manifest: always printed, refused above corpus.max_quarantined.

Not a loss are copies of usable rows, rows that ``corpus.exclude`` names, and clips that a corpus is known to lack.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import copies
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import MaxQuarantinedSettings
from pipeline_lib.tables.fold_names import SPLIT

NO_LOSS = (*copies.WORDS, "excluded", "known bad")
EXAMPLES = 3
TRAINED = ("train", SPLIT)  # each row of the folds is in the training part of all but one
HINTS = {
    "segment": "Are the times in seconds, and of these recordings?",
    copies.CONTRADICTORY: "Does utterance_id name each utterance once? Without that column it is derived from audio.",
    "misnamed": "Is corpus.reader that of this corpus?",
    "malformed": "Is corpus.reader that of this corpus, and its label files as they were published?",
    "too short": "corpus.min_duration_s sets how short an utterance may be.",
    "too long": "corpus.max_duration_s sets how long an utterance may be.",
    "clipped": "corpus.max_clipped_share sets how much of a recording may be.",
}  # the most frequent reason -> a hint


def word(reason: str) -> str:
    """Return the first word of a reason, "missing" for example, by which reasons are counted."""
    return reason.partition(":")[0]


def most_frequent(words: Sequence[str], n: int = 3) -> str:
    """Return the most frequent reasons with their counts: "missing 4,300, truncated 2".

    Args:
        words: first words of reasons
        n: number of reasons that are named
    """
    counts = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in counts[:n]) + (", ..." if counts[n:] else "")


def notices(n_read: int, words: Sequence[str]) -> list[str]:
    """Return sentences for the terminal on rows that are left out, empty where none is.

    Args:
        n_read: number of all rows
        words: first word of the reason of each row that is left out
    """
    lost = [name for name in words if name not in copies.WORDS]
    result = []
    if lost:
        counted = f"{len(lost):,} of {n_read:,} rows are quarantined ({most_frequent(lost)})"
        result.append(f"{counted}; data/quarantine.parquet has each with its reason.")
    again = [name for name in words if name in copies.WORDS]
    if again:
        result.append(f"{len(again):,} rows are other copies of utterances that are kept ({most_frequent(again)}).")
    return result


def check(root: Path, frame: pd.DataFrame, limit: MaxQuarantinedSettings) -> None:
    """Refuse a corpus that loses more than the limit of any split, or all of one.

    Args:
        root: folder of the corpus
        frame: all rows but copies, with ``split`` and ``reject``; rows without split count against the whole corpus
        limit: number and share of rows that may be lost

    Raises:
        InputError: too much is lost; the message has counts, reasons, examples and the folder
    """
    lost = frame["reject"].notna() & ~frame["reject"].map(lambda reason: word(str(reason)) in NO_LOSS)
    parts = [(f"split {name!r}", (frame["split"] == name)) for name in sorted(frame["split"].dropna().unique())]
    if frame["split"].isna().any() or lost.all():
        parts.insert(0, ("the corpus", pd.Series(True, index=frame.index)))
    for name, rows in parts:
        n, gone = int(rows.sum()), frame[rows & lost]
        if len(gone) > max(limit.files, int(limit.share * n)) or (len(gone) == n and limit.share < 1):
            raise InputError(
                f"{len(gone):,} of {n:,} rows of {name} cannot be used: {_why(gone)}."
                f" {_hint(root, gone['reject'])} corpus.max_quarantined takes {limit.share:.0%} of a split, at least"
                f" {limit.files} rows; where so much is really bad, set its share higher"
            )


def check_recordings(root: Path, frame: pd.DataFrame, lost: pd.DataFrame, limit: MaxQuarantinedSettings) -> None:
    """Refuse a split that names recordings of which none is left, though its utterances stay with text alone.

    Args:
        root: folder of the corpus
        frame: rows that named a recording; ``audio`` is missing where it is lost
        lost: the lost recordings, with ``file`` and ``reason``
        limit: a share of 1 takes this too

    Raises:
        InputError: names the split, the reasons and the folder
    """
    for name, rows in frame.groupby("split", sort=True):
        if rows["audio"].isna().all() and limit.share < 1:
            raise InputError(
                f"all {len(rows):,} recordings of split {name!r} cannot be used, of the corpus"
                f" {_why(lost.rename(columns={'file': 'audio', 'reason': 'reject'}))}."
                f" {_hint(root, lost['reason'])} Where text alone is to be kept of all of them (corpus.on_bad), set"
                " corpus.max_quarantined.share to 1"
            )


def explain_label(root: Path, before: pd.DataFrame, kept: pd.DataFrame, labels: Sequence[str]) -> None:
    """Refuse a label that had utterances in train, all of which are lost.

    Args:
        root: folder of the corpus
        before: all rows, with ``split``, ``emotion`` and ``reject``
        kept: the usable ones
        labels: scored emotions

    Raises:
        InputError: names the label, the number of its utterances and why they cannot be used
    """
    for label in labels:
        had = before[(before["emotion"] == label) & before["split"].isin(TRAINED)]
        if len(had) and not ((kept["emotion"] == label) & kept["split"].isin(TRAINED)).any():
            raise InputError(
                f"label {label!r} has {len(had):,} utterances in train and none of them can be used:"
                f" {_why(had[had['reject'].notna()])}, below {root.absolute()}; bring the files back, or leave the"
                " label out of corpus.labels"
            )


def _why(rows: pd.DataFrame) -> str:
    """Return the most frequent reasons and some examples."""
    examples = [f"{name}: {reason}" for name, reason in zip(rows["audio"], rows["reject"], strict=True)][:EXAMPLES]
    counts = most_frequent([word(reason) for reason in rows["reject"]])
    return f"{counts} ({'; '.join(examples)}{'; ...' if len(rows) > EXAMPLES else ''})"


def _hint(root: Path, reasons: Iterable[str]) -> str:
    """Return the hint on the most frequent reason."""
    most = Counter(map(word, reasons)).most_common(1)[0][0]
    files = f"Files were looked for below {root.absolute()}:"
    return HINTS.get(most, f"{files} is the corpus there as a whole, and is it the right folder (corpus.root)?")
