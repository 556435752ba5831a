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
    result = []
    for utterance in planned:
        result.append(f"{utterance.split}_{counts[utterance.split]:05d}")
        counts[utterance.split] += 1
    return result


def write_sound(folder: Path, name: str, wave: np.ndarray) -> None:
    """Write one recording: 16 bits, mono, 16 kHz.

    Args:
        folder: root of the corpus
        name: of the utterance
        wave: int16, mono, 16 kHz, shape ``(n_samples,)``
    """
    path = folder / "audio" / f"{name}.flac"
    path.parent.mkdir(exist_ok=True)
    file = io.BytesIO()  # libsndfile itself does not report a full disk
    soundfile.write(file, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path.write_bytes(file.getvalue())


def write_labels(folder: Path, names: Sequence[str], planned: Sequence[Planned]) -> None:
    """Write corpus.csv.

    Args:
        folder: root of the corpus
        names: of the utterances, see ``names``
        planned: the utterances, in the same order
    """
    with (folder / "corpus.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, utterance in zip(names, planned, strict=True):
            votes = json.dumps(utterance.votes, sort_keys=True)
            speaker = (utterance.voice.name, utterance.voice.gender)
            labels = (utterance.emotion, votes, *utterance.attributes)
            writer.writerow((name, f"audio/{name}.flac", utterance.split, *speaker, *labels, utterance.text))
