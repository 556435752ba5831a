"""What crosses from one split, or fold, to another: sound in any form, text, and speakers whose names differ in little.

Sound is the same in its bytes, in its decoded samples (a FLAC copy, a WAV with one more chunk) or, in another encoding,
by ``acoustic``. Text is the same where its normalised words are, of ``WORDS`` or more; a corpus in which the same
sentences are spoken by many is scripted, which is told in one sentence and not by its pairs.

Of each utterance the first one of every earlier side is named: train, dev, tests in their order, folds by number. Tests
are one side, and ``unlabelled`` is none.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline_lib.corpus import acoustic, identity
from pipeline_lib.corpus.leaks import SCORED
from pipeline_lib.metrics.words import units, without_blanks
from pipeline_lib.tables.leaks import KINDS, Leak, Leaks

WORDS = 6  # a word or, of scripts without blanks, two characters
SCRIPTED_SHARE = 0.1  # of the utterances of so many words have a text that another side has
SCRIPTED_TIMES = 4  # utterances of such a text, on average
Pair = tuple[int, int, float | None]  # a row, one of an earlier side, and the share of bits that differ


def find(frame: pd.DataFrame) -> Leaks:
    """Return what crosses sides, and the sentence on a scripted corpus.

    Args:
        frame: usable rows sorted by utterance_id, with ``side`` (split or fold), ``audio_sha256``, ``start_s``,
            ``end_s``, ``sound``, ``fingerprint``, ``duration_s``, ``reference_text`` and ``speaker``
    """
    frame = frame.reset_index(drop=True)
    sides = [_kind(side) for side in frame["side"]]
    texts = [_key(text) for text in frame["reference_text"]]
    protocol = _protocol(texts, sides)
    folded = [identity.folded(name) if isinstance(name, str) else None for name in frame["speaker"]]
    pairs = {
        "bytes": _bytes(frame, sides),
        "samples": _same(list(frame["sound"]), sides),
        "sound": acoustic.same(list(frame["fingerprint"]), frame["duration_s"].to_numpy(float), sides),
        "text": _same(texts, sides) if not protocol else (),
        "speaker": _speakers(list(frame["speaker"]), folded, sides),
    }
    ids, names = frame["utterance_id"].tolist(), frame["side"].tolist()
    listed: dict[tuple[int, str | None, bool], Leak] = {}
    for kind in KINDS:
        best: dict[tuple[int, str | None], Pair] = {}
        for pair in pairs[kind]:
            row, other, errors = _ordered(pair, sides)
            known = best.get((row, sides[other]))
            if known is None or (errors is not None and (errors, other) < (known[2], known[1])):
                best[row, sides[other]] = (row, other, errors)
        for (row, side), (_, other, errors) in best.items():
            leak = Leak(kind, ids[row], names[row], ids[other], names[other], errors)
            listed.setdefault((row, side, kind == "speaker"), leak)
    return Leaks(tuple(listed.values()), protocol)


def _kind(side: str) -> str | None:
    if side == "unlabelled":
        return None
    return "test" if SCORED.fullmatch(side) else side


def _rank(side: str | None) -> tuple[int, int, str]:
    """Return a key that sorts training before development, both before tests, and folds by their numbers."""
    first = {"train": 0, "dev": 1, "test": 3}.get(str(side), 2)
    return first, len(str(side)), str(side)


def _ordered(pair: Pair, sides: Sequence[str | None]) -> Pair:
    one, other, errors = pair
    return (one, other, errors) if _rank(sides[one]) > _rank(sides[other]) else (other, one, errors)


def _same(keys: Sequence[object], sides: Sequence[str | None]) -> Iterator[Pair]:
    """Yield each row with the first row of every earlier side that has the same key; None is no key."""
    first: dict[object, dict[str, int]] = {}
    for row, (key, side) in enumerate(zip(keys, sides, strict=True)):
        if key is not None and side is not None and not (isinstance(key, float) and math.isnan(key)):
            first.setdefault(key, {}).setdefault(side, row)
    for row, (key, side) in enumerate(zip(keys, sides, strict=True)):
        if side is not None:
            for other, there in first.get(key, {}).items():
                if _rank(other) < _rank(side):
                    yield row, there, None


def _bytes(frame: pd.DataFrame, sides: Sequence[str | None]) -> Iterator[Pair]:
    """Yield pairs of recordings with the same bytes; of segments, those that overlap."""
    known = frame[frame["audio_sha256"].notna()]
    begins, ends = frame["start_s"].fillna(0.0).to_numpy(), frame["end_s"].fillna(math.inf).to_numpy()
    for _, rows in known[known["audio_sha256"].duplicated(keep=False)].groupby("audio_sha256", sort=False):
        open_rows: list[int] = []
        for row in sorted(rows.index, key=lambda i: (begins[i], i)):
            open_rows = [other for other in open_rows if ends[other] > begins[row]]
            for other in open_rows:
                if sides[row] != sides[other] and None not in (sides[row], sides[other]):
                    yield row, other, None
            open_rows.append(row)


def _speakers(names: Sequence[object], folded: Sequence[str | None], sides: Sequence[str | None]) -> Iterator[Pair]:
    """Yield the first row of each speaker on a side, with that of a speaker of another name who may be the same."""
    first: dict[tuple[str | None, object, str | None], int] = {}
    for row, key in enumerate(zip(folded, names, sides, strict=True)):
        if key[0] is not None and key[2] is not None:
            first.setdefault(key, row)
    groups: dict[str | None, list[int]] = {}
    for (fold, _, _), row in first.items():
        groups.setdefault(fold, []).append(row)
    for rows in groups.values():
        for k, row in enumerate(rows):
            for other in rows[:k]:
                if names[row] != names[other] and sides[row] != sides[other]:
                    yield row, other, None


def _key(text: object) -> str | None:
    """Return the normalised words, None of fewer than ``WORDS``."""
    if not isinstance(text, str):
        return None
    words = units(text)
    dense = sum(without_blanks(word[0]) for word in words)
    return " ".join(words) if len(words) - dense + dense / 2 >= WORDS else None


def _protocol(texts: Sequence[str | None], sides: Sequence[str | None]) -> str:
    """Return a sentence where the corpus is scripted, empty elsewhere."""
    counted: dict[str, dict[str, int]] = {}  # text -> side -> utterances
    for text, side in zip(texts, sides, strict=True):
        if text is not None and side is not None:
            counts = counted.setdefault(text, {})
            counts[side] = counts.get(side, 0) + 1
    shared = [counts for counts in counted.values() if len(counts) > 1]
    n_shared = sum(sum(counts.values()) for counts in shared)
    n_all = sum(sum(counts.values()) for counts in counted.values())
    if not shared or n_shared < SCRIPTED_SHARE * n_all or n_shared < SCRIPTED_TIMES * len(shared):
        return ""
    return (
        f"Scripted corpus: {len(shared)} sentences of six words or more are spoken on several sides, by {n_shared} of"
        f" {n_all} utterances of so many words; its protocol, and therefore not listed as leaks."
    )
