"""MSP-Podcast's own layout, as v1.11 has it: ``corpus.reader: msp_podcast`` reads it like the licensed corpus.

``Audios/<turn>.wav``, ``Labels/labels_consensus.csv``, ``Labels/labels_detailed.json`` with every worker's vote and
ratings, ``Transcripts/<turn>.txt``, ``Speaker_ids.txt``, ``Partitions.txt``. Each voice has a podcast to itself. Of
the split Test3 there are recordings and lines in ``Partitions.txt``, nothing else: its labels are hidden. As in the
corpus one recording is stereo at 44.1 kHz, here the first.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from pipeline_lib.demonstration.plan import HIDDEN, Planned
from pipeline_lib.demonstration.synthesis import SAMPLE_RATE
from pipeline_lib.labels import LETTERS, NO_AGREEMENT, OTHER

SPLITS = {"train": "Train", "dev": "Development", "test": "Test1", HIDDEN: "Test3"}
CODES = {**{label: letter for letter, label in LETTERS.items()}, OTHER: "O", NO_AGREEMENT: "X"}
VOTED = {  # as the workers' form calls an emotion
    "anger": "Angry",
    "contempt": "Contempt",
    "disgust": "Disgust",
    "fear": "Fear",
    "happiness": "Happy",
    "neutral": "Neutral",
    "sadness": "Sad",
    "surprise": "Surprise",
    OTHER: "Other",
}
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
STEREO, STEREO_RATE = "MSP-PODCAST_0001_0001", 44_100
N_WORKERS = 60


def names(planned: Sequence[Planned]) -> list[str]:
    """Return each utterance's name, ``MSP-PODCAST_<podcast>_<turn>``; hidden ones have ``test3`` for a podcast."""
    numbers = _speakers(planned)
    turns: Counter[str] = Counter()
    found = []
    for each in planned:
        podcast = HIDDEN if each.split == HIDDEN else f"{numbers[each.voice.name]:04d}"
        turns[podcast] += 1
        found.append(f"MSP-PODCAST_{podcast}_{turns[podcast]:04d}")
    return found


def write_sound(folder: Path, name: str, wave: np.ndarray) -> None:
    """Write one recording: 16 bits, mono at 16 kHz; ``STEREO`` at 44.1 kHz, its right channel half as loud."""
    path, rate = folder / "Audios" / f"{name}.wav", SAMPLE_RATE
    path.parent.mkdir(exist_ok=True)
    if name == STEREO:
        left = soxr.resample(wave / 32768.0, SAMPLE_RATE, STEREO_RATE, quality="VHQ")
        wave, rate = np.stack([left, left / 2], axis=1), STEREO_RATE
    file = io.BytesIO()  # libsndfile itself does not say that a disk is full
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    path.write_bytes(file.getvalue())


def write_labels(folder: Path, names: Sequence[str], planned: Sequence[Planned]) -> None:
    """Write everything that is not sound."""
    labelled = [(name, each) for name, each in zip(names, planned, strict=True) if each.split != HIDDEN]
    numbers = _speakers(planned)
    for part in ("Labels", "Transcripts"):
        (folder / part).mkdir()
    with (folder / "Labels" / "labels_consensus.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, each in labelled:
            who = (numbers[each.voice.name], each.voice.gender.capitalize(), SPLITS[each.split])
            writer.writerow((f"{name}.wav", CODES[each.emotion], *each.attributes, *who))
    detailed = {f"{name}.wav": _workers(i, each) for i, (name, each) in enumerate(labelled)}
    _write(folder / "Labels" / "labels_detailed.json", [json.dumps(detailed, indent=1)])
    for name, each in labelled:
        _write(folder / "Transcripts" / f"{name}.txt", [each.text])
    _write(folder / "Speaker_ids.txt", _speaker_lines(labelled, numbers))
    lines = (f"{SPLITS[each.split]}; {name}.wav" for name, each in zip(names, planned, strict=True))
    _write(folder / "Partitions.txt", lines)


def _speakers(planned: Sequence[Planned]) -> dict[str, int]:
    """Return voice -> number of the speaker and of the podcast, from 1 in the order of appearance."""
    voices = dict.fromkeys(each.voice.name for each in planned if each.split != HIDDEN)
    return {name: i for i, name in enumerate(voices, start=1)}


def _workers(i: int, each: Planned) -> dict[str, dict[str, str | int]]:
    """Return worker -> what the worker said of the ``i``-th turn; the next five of ``N_WORKERS`` hear it."""
    said = {}
    for k, (ballot, ratings) in enumerate(zip(each.ballots, each.ratings, strict=True)):
        primary, (arousal, valence, dominance) = VOTED[ballot], ratings
        answers = {"EmoClass_Major": primary, "EmoClass_Second": primary}
        answers |= {"EmoAct": arousal, "EmoVal": valence, "EmoDom": dominance}
        said[f"WORKER{(i * len(each.ballots) + k) % N_WORKERS + 1:08d}"] = answers
    return said


def _speaker_lines(labelled: Sequence[tuple[str, Planned]], numbers: dict[str, int]) -> Iterator[str]:
    """Yield who is female or male, then who speaks which turn."""
    genders = {numbers[each.voice.name]: each.voice.gender for _, each in labelled}
    yield from (f"Speaker_{number}; {gender.capitalize()}" for number, gender in sorted(genders.items()))
    yield from (f"{name}.wav;{numbers[each.voice.name]}" for name, each in labelled)


def _write(path: Path, lines: Sequence[str] | Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
