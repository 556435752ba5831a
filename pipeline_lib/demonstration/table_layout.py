"""The layout of ``corpus.reader: table``: ``audio/*.flac`` and ``corpus.csv``."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from pipeline_lib.demonstration.plan import Planned
from pipeline_lib.demonstration.synthesis import SAMPLE_RATE
from pipeline_lib.labels import ATTRIBUTES

COLUMNS = (
    "utterance_id", "audio", "split", "speaker", "gender", "emotion", "votes", *ATTRIBUTES, "reference_text",
)  # fmt: skip


def names(planned: Sequence[Planned]) -> list[str]:
    """Return each utterance's name, ``train_00000`` for example."""
    counts: Counter[str] = Counter()
    found = []
    for each in planned:
        found.append(f"{each.split}_{counts[each.split]:05d}")
        counts[each.split] += 1
    return found


def write_sound(folder: Path, name: str, wave: np.ndarray) -> None:
    """Write one recording: int16, mono, 16 kHz."""
    path = folder / "audio" / f"{name}.flac"
    path.parent.mkdir(exist_ok=True)
    file = io.BytesIO()  # libsndfile itself does not say that a disk is full
    soundfile.write(file, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path.write_bytes(file.getvalue())


def write_labels(folder: Path, names: Sequence[str], planned: Sequence[Planned]) -> None:
    """Write everything that is not sound."""
    with (folder / "corpus.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, each in zip(names, planned, strict=True):
            votes = json.dumps(each.votes, sort_keys=True)
            who = (each.voice.name, each.voice.gender)
            heard = (each.emotion, votes, *each.attributes)
            writer.writerow((name, f"audio/{name}.flac", each.split, *who, *heard, each.text))
