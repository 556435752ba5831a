"""metrics/corpus.json: the corpus by split, refused rows by reason, and warnings for the reader of any score."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline_lib.corpus import copies
from pipeline_lib.labels import ATTRIBUTES, PSEUDO
from pipeline_lib.tables.manifest import Manifest


def describe(
    manifest: Manifest, quarantined: Sequence[str], warnings: Sequence[str], recordings: Mapping[str, int]
) -> dict[str, Any]:
    """Return the counts of metrics/corpus.json.

    Args:
        manifest: the corpus
        quarantined: the short reason of each row that is left out, copies among them
        warnings: sentences
        recordings: numbers of usable recordings that are clipped, taken from their centre, or from one channel

    Returns:
        JSON; hours have four digits, ``classes`` sum to ``utterances``
    """
    frame = manifest.frame
    repeated, crossing = _repeated(frame)
    warnings = list(warnings)
    if repeated > crossing:
        warnings.append(f"utterances that repeat sound of another one of their split: {repeated - crossing}.")
    if crossing:
        warnings.append(f"{crossing} recordings have the same bytes as one of another split.")
    again = sum(word in copies.WORDS for word in quarantined)
    rows = {"read": len(frame) + len(quarantined), "kept": len(frame), "copies": again}
    names = sorted({subset for subsets in frame["subsets"] for subset in subsets})
    return {
        "corpus": manifest.corpus,
        "notice": manifest.notice,
        "rows": rows | {"quarantined": len(quarantined) - again},
        "quarantined": dict(sorted(Counter(quarantined).items())),
        "splits": {name: _of_split(rows, manifest.labels) for name, rows in frame.groupby("split", sort=True)},
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
