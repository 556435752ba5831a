"""metrics/corpus.json: the corpus by split, refused rows by reason, and warnings for the reader of any score."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline_lib.corpus import copies, leaks
from pipeline_lib.labels import ATTRIBUTES, PSEUDO
from pipeline_lib.tables.manifest import Manifest


def describe(
    manifest: Manifest,
    sides: pd.Series,
    quarantined: Sequence[str],
    warnings: Sequence[str],
    recordings: Mapping[str, int],
) -> dict[str, Any]:
    """Return the counts of metrics/corpus.json.

    Args:
        manifest: the corpus
        sides: each row's split, or the fold that tests it
        quarantined: the short reason of each row that is left out, copies among them
        warnings: sentences
        recordings: numbers of usable recordings that are clipped, taken from their centre, or from one channel

    Returns:
        JSON; hours have four digits, ``classes`` sum to ``utterances``; ``ua`` stands where a test or development set
        lacks labels: those, the highest unweighted accuracy that can be reached, and that of guessing among the others
    """
    frame = manifest.frame
    repeated, crossing = _repeated(frame.assign(split=sides))
    warnings = list(warnings)
    if repeated > crossing:
        warnings.append(f"utterances that repeat sound of another one of their split: {repeated - crossing}.")
    if crossing:
        warnings.append(f"{crossing} recordings have the same bytes as one of another split.")
    warnings += _ceilings(frame, manifest.labels)
    again = sum(word in copies.WORDS for word in quarantined)
    rows = {"read": len(frame) + len(quarantined), "kept": len(frame), "copies": again}
    names = sorted({subset for subsets in frame["subsets"] for subset in subsets})
    return {
        "corpus": manifest.corpus,
        "notice": manifest.notice,
        "rows": rows | {"quarantined": len(quarantined) - again},
        "quarantined": dict(sorted(Counter(quarantined).items())),
        "splits": {
            name: _of_split(rows, manifest.labels) | _reach(str(name), rows, manifest.labels)
            for name, rows in frame.groupby("split", sort=True)
        },
        "subsets": {name: int(manifest.mask(name).sum()) for name in names},
        "duplicated_recordings": repeated,
        **recordings,
        "warnings": " ".join(warnings),
    }


def _of_split(rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    counts = Counter(emotion if emotion else "unlabelled" for emotion in rows["emotion"])
    classes = {label: counts.pop(label, 0) for label in labels}
    classes |= {name: counts.pop(name) for name in (*PSEUDO, "unlabelled") if name in counts}
    if counts:
        classes["not_scored"] = sum(counts.values())
    return {
        "utterances": len(rows),
        "hours": round(float(rows["duration_s"].sum()) / 3600, 4),
        "speakers": int(rows["speaker"].nunique()),
        "without_speaker": int(rows["speaker"].isna().sum()),
        "women": int(rows["speaker"][rows["gender"] == "female"].nunique()),
        "men": int(rows["speaker"][rows["gender"] == "male"].nunique()),
        "with_attributes": int(rows[list(ATTRIBUTES)].notna().all(axis=1).sum()),
        "with_votes": int(rows["votes"].notna().sum()),
        "with_text": int(rows["reference_text"].notna().sum()),
        "classes": classes,
    }


def _reach(name: str, rows: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Return what the unweighted accuracy can be where a test or development set lacks labels, empty elsewhere.

    A label without an utterance has recall 0 among ``n`` labels (``metrics/categories.py``): ``p`` present ones reach
    ``p / n``, and a guess among them is right in one of ``p`` of each, on average ``1 / n``.
    """
    present = set(rows["emotion"]) & {*labels}
    absent = [label for label in labels if label not in present]
    if not (absent and present and (name == "dev" or leaks.SCORED.fullmatch(name))):
        return {}
    reached = {"ceiling": round(len(present) / len(labels), 4), "chance": round(1 / len(labels), 4)}
    return {"ua": {"labels_absent": absent, **reached}}


def _ceilings(frame: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Return a sentence for each development or test set that lacks labels."""
    reaches = {name: _reach(str(name), rows, labels).get("ua") for name, rows in frame.groupby("split", sort=True)}
    return [
        f"{name} has no utterance of {', '.join(reach['labels_absent'])}: UA and macro-F1 reach at most"
        f" {reach['ceiling']:.2f} there, and chance is a UA of {reach['chance']:.2f}."
        for name, reach in reaches.items()
        if reach
    ]


def _repeated(frame: pd.DataFrame) -> tuple[int, int]:
    """Return the number of utterances that repeat sound of an earlier one, and of those that cross splits.

    Recordings of the same bytes repeat each other; segments of one recording do where they overlap.
    """
    known = frame[frame["audio_sha256"].notna()].reindex(columns=["audio_sha256", "start_s", "end_s", "split"])
    again = crossing = 0
    for _, rows in known[known["audio_sha256"].duplicated(keep=False)].groupby("audio_sha256", sort=False):
        begins, ends = rows["start_s"].fillna(0.0), rows["end_s"].fillna(math.inf)
        until: dict[str, float] = {}  # split -> end of its sound so far
        for row in begins.sort_values(kind="stable").index:
            begin, split = begins[row], rows["split"][row]
            overlapping = {name for name, end in until.items() if end > begin}
            again += bool(overlapping)
            crossing += bool(overlapping - {split})
            until[split] = max(until.get(split, 0.0), ends[row])
    return again, crossing
