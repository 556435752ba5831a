"""Previous turns of an utterance's dialogue, as the manifest's columns ``dialogue`` and ``turn`` order them.

A turn's context are the nearest turns before it that the manifest holds and that have words: a turn that is absent
(excluded, quarantined, never transcribed) or empty is skipped, and the one before it takes its position. Turns of the
same number are no context of each other. No context crosses a side: both turns are of one split, and with folds of the
same test fold and of the same folds' development parts, so that they lie on one side of every fold.
"""

import re
from collections.abc import Hashable, Sequence

import pandas as pd

from pipeline_lib.errors import InputError
from pipeline_lib.tables.manifest import Manifest

SIDE = re.compile(r"fold\d+(_dev)?")  # subsets that say on which side of a fold an utterance is


def previous_turns(manifest: Manifest, texts: Sequence[str | None], most: int) -> list[tuple[str, ...]]:
    """Return the texts of each utterance's previous turns, the oldest first; empty where it has none.

    Args:
        manifest: of n utterances
        texts: of its rows, None or blank where an utterance has no words
        most: previous turns of an utterance, 1 or more

    Raises:
        InputError: no utterance of the corpus is in a dialogue, or one in a dialogue has no turn
    """
    frame = manifest.frame
    if "dialogue" not in frame or frame["dialogue"].isna().all():
        raise InputError(
            f"context is {most} and {manifest.corpus} has no dialogues, expected the columns dialogue and turn in its"
            " manifest; set context to 0"
        )
    without = frame[frame["dialogue"].notna() & frame["turn"].isna()]
    if len(without):
        first = without.iloc[0]
        raise InputError(
            f"context is {most} and {first['utterance_id']!r} of dialogue {first['dialogue']!r} has no turn, expected a"
            " whole number that orders the dialogue; give it one, or set context to 0"
        )
    dialogues: dict[Hashable, list[int]] = {}
    for row, key in enumerate(_keys(frame)):
        if key is not None:
            dialogues.setdefault(key, []).append(row)
    turns, names = frame["turn"].tolist(), frame["utterance_id"].tolist()
    result: list[tuple[str, ...]] = [()] * len(frame)
    for rows in dialogues.values():
        rows.sort(key=lambda row: (turns[row], names[row]))
        spoken = [row for row in rows if (texts[row] or "").strip()]
        before = 0  # how many of the spoken ones come before the row
        for row in rows:
            while before < len(spoken) and turns[spoken[before]] < turns[row]:
                before += 1
            result[row] = tuple(str(texts[other]) for other in spoken[max(0, before - most) : before])
    return result


def describe(before: Sequence[tuple[str, ...]], most: int) -> str:
    """Return a phrase that counts the previous turns.

    Args:
        before: previous turns of each utterance
        most: how many an utterance may have
    """
    full, none = sum(len(turns) == most for turns in before), sum(not turns for turns in before)
    return (
        f"context of {most} previous turns: {full} of {len(before)} utterances have all of them, {none} have none"
        " (first turns, or earlier ones are absent, without words or in another split)"
    )


def _keys(frame: pd.DataFrame) -> list[Hashable]:
    """Return what turns of one dialogue and one side share, None for an utterance of no dialogue."""
    sides = [tuple(sorted(name for name in names if SIDE.fullmatch(name))) for names in frame["subsets"]]
    rows = zip(frame["dialogue"], frame["split"], sides, strict=True)
    return [None if pd.isna(dialogue) else (dialogue, split, side) for dialogue, split, side in rows]
