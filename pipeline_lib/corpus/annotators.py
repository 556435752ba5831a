"""Tables in long form, one row an annotator: the rows of an utterance are merged, their emotions become votes."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.corpus import identity, segment_times
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, NO_AGREEMENT, consensus

SAME = ("utterance_id", "split", "speaker", "gender", "reference_text", "video", "subsets", "group", "dialogue", "turn")
RATED = ("emotion", *ATTRIBUTES)
NAMES_RATING = " (does utterance_id name the rating? leave it out, and it is derived from the recording)"


def fold(path: Path, rows: Sequence[dict], named: bool) -> tuple[list[dict], list[str]]:
    """Return one row an utterance, in the order of their first rows, and sentences on the rows that were merged.

    Rows of the same recording and segment, or without a recording of the same utterance_id, are one utterance. They are
    ratings where an annotator is named or any of them differ in emotion or attributes: emotions are counted into
    ``votes``, the label is ``consensus`` of these (X without a plurality), attributes are averaged. Else they repeat
    each other.

    Args:
        path: the table, for messages
        rows: see ``table_rows``
        named: whether a column names the annotators

    Raises:
        InputError: rows of an utterance differ in more than emotion and attributes, or have votes already; an
            utterance_id stands on two segments
    """
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(_segment(row), []).append(row)
    _check_ids(groups)
    several = [group for group in groups.values() if len(group) > 1]
    rated = named or any(_differ(group) for group in several)
    utterances: list[dict] = []
    repeated = folded = 0
    for group in groups.values():
        _check_same(group)
        ratings = _distinct(group) if named else group if rated else group[:1]
        repeated += len(group) - len(ratings)
        folded += len(ratings) - 1
        utterances.append(_counted(ratings) if named or (rated and len(group) > 1) else _filled(group))
    notes = []
    if repeated:
        notes.append(f"{path.name}: {repeated} rows repeat another row and are left out.")
    if folded:
        rows_of = zip(groups.values(), utterances, strict=True)
        no_plurality = sum(len(group) > 1 and row["emotion"] == NO_AGREEMENT for group, row in rows_of)
        notes.append(
            f"{path.name}: {len(rows) - repeated} rows became {len(utterances)} utterances, each row counted as one"
            f" annotator's vote; {no_plurality} of them have no plurality and are {NO_AGREEMENT}."
        )
    return utterances, notes


def _segment(row: dict) -> tuple:
    """Return the recording and segment of a row, its utterance_id where it has no recording."""
    if row["audio"] is None:
        return ("", identity.composed(row["utterance_id"]))
    return (row["audio"], segment_times.suffix(row["start_s"], row["end_s"]))


def _check_ids(groups: dict[tuple, list[dict]]) -> None:
    """Refuse an utterance_id on two segments of a recording: all but one would be dropped as duplicates."""
    seen: dict[tuple[str, str], dict] = {}
    for (audio, _), group in groups.items():
        for row in group if audio else ():
            other = seen.setdefault((audio, identity.composed(row["utterance_id"])), row)
            if _segment(other) != _segment(row):
                raise InputError(
                    f"{row['where']}: utterance_id {row['utterance_id']!r} is also that of another segment of {audio}"
                    f" ({other['where']}); name each by its own, or leave utterance_id out and it is derived"
                )


def _differ(group: Sequence[dict]) -> bool:
    return any(str(row[name]) != str(group[0][name]) for row in group for name in RATED)


def _check_same(group: Sequence[dict]) -> None:
    first = _filled(group)
    for row in group[1:]:
        for name in SAME:
            if row[name] and _composed(row[name]) != _composed(first[name]):
                raise InputError(
                    f"{row['where']}: {name} is {row[name]!r}, and {first[name]!r} in another row of the same utterance"
                    f" ({group[0]['where']}); rows of annotators may differ in {', '.join(RATED)} alone"
                    f"{NAMES_RATING if name == 'utterance_id' else ''}"
                )
    votes = next((row for row in group if row["votes"]), None)
    if len(group) > 1 and votes and any(row["votes"] != votes["votes"] or _differ(group) for row in group):
        raise InputError(
            f"{votes['where']}: votes stand in a row of an utterance that has several rows with other ratings; expected"
            " one row with votes, or one row an annotator without"
        )


def _composed(value: str | list[str]) -> str | list[str]:
    return identity.composed(value) if isinstance(value, str) else value


def _distinct(group: Sequence[dict]) -> list[dict]:
    """Return the ratings without those that an annotator repeats."""
    seen: dict[tuple, dict] = {}
    for i, row in enumerate(group):
        annotator = row["annotator"] or i
        seen.setdefault((annotator, *(str(row[name]) for name in RATED)), row)
    return list(seen.values())


def _filled(group: Sequence[dict]) -> dict:
    """Return the first row, with values that only a later one has."""
    row = dict(group[0])
    for other in group[1:]:
        row |= {name: other[name] for name in (*SAME, "votes") if not row[name]}
    return row


def _counted(group: Sequence[dict]) -> dict:
    row = _filled(group)
    cast = Counter(rating["emotion"] for rating in group if rating["emotion"])
    if not row["votes"]:
        row["votes"] = dict(cast) or None
        row["emotion"] = consensus(cast) if cast else None
    for name in ATTRIBUTES:
        values = [rating[name] for rating in group if not math.isnan(rating[name])]
        row[name] = math.fsum(values) / len(values) if values else math.nan
    return row
