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
    result = []
    for utterance in planned:
        podcast = HIDDEN if utterance.split == HIDDEN else f"{numbers[utterance.voice.name]:04d}"
        turns[podcast] += 1
        result.append(f"MSP-PODCAST_{podcast}_{turns[podcast]:04d}")
    return result


def write_sound(folder: Path, name: str, wave: np.ndarray) -> None:
    """Write one recording: 16 bits, mono at 16 kHz; ``STEREO`` at 44.1 kHz, its right channel half as loud.

    Args:
        folder: root of the corpus
        name: of the utterance
        wave: int16, mono, 16 kHz, shape ``(n_samples,)``
    """
    path, rate = folder / "Audios" / f"{name}.wav", SAMPLE_RATE
    path.parent.mkdir(exist_ok=True)
    if name == STEREO:
        left = soxr.resample(wave / 32768.0, SAMPLE_RATE, STEREO_RATE, quality="VHQ")
        wave, rate = np.stack([left, left / 2], axis=1), STEREO_RATE
    file = io.BytesIO()  # libsndfile itself does not report a full disk
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    path.write_bytes(file.getvalue())


def write_labels(folder: Path, names: Sequence[str], planned: Sequence[Planned]) -> None:
    """Write labels, votes, transcripts, speakers and partitions.

    Args:
        folder: root of the corpus
        names: of the utterances, see ``names``
        planned: the utterances, in the same order
    """
    everything = list(zip(names, planned, strict=True))
    labelled = [(name, utterance) for name, utterance in everything if utterance.split != HIDDEN]
    numbers = _speakers(planned)
    for part in ("Labels", "Transcripts"):
        (folder / part).mkdir()
    with (folder / "Labels" / "labels_consensus.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, utterance in labelled:
            voice = utterance.voice
            speaker = (numbers[voice.name], voice.gender.capitalize(), SPLITS[utterance.split])
            writer.writerow((f"{name}.wav", CODES[utterance.emotion], *utterance.attributes, *speaker))
    detailed = {f"{name}.wav": _workers(i, utterance) for i, (name, utterance) in enumerate(labelled)}
    _write(folder / "Labels" / "labels_detailed.json", [json.dumps(detailed, indent=1)])
    for name, utterance in labelled:
        _write(folder / "Transcripts" / f"{name}.txt", [utterance.text])
    _write(folder / "Speaker_ids.txt", _speaker_lines(labelled, numbers))
    lines = (f"{SPLITS[utterance.split]}; {name}.wav" for name, utterance in everything)
    _write(folder / "Partitions.txt", lines)


def _speakers(planned: Sequence[Planned]) -> dict[str, int]:
    """Return voice -> number of the speaker and of the podcast, from 1 in the order of appearance."""
    voices = dict.fromkeys(utterance.voice.name for utterance in planned if utterance.split != HIDDEN)
    return {name: i for i, name in enumerate(voices, start=1)}


def _workers(i: int, utterance: Planned) -> dict[str, dict[str, str | int]]:
    """Return worker -> the worker's answers on the ``i``-th turn, which the next five of ``N_WORKERS`` rate."""
    result = {}
    for k, (ballot, ratings) in enumerate(zip(utterance.ballots, utterance.ratings, strict=True)):
        primary, (arousal, valence, dominance) = VOTED[ballot], ratings
        answers: dict[str, str | int] = {"EmoClass_Major": primary, "EmoClass_Second": primary}
        answers |= {"EmoAct": arousal, "EmoVal": valence, "EmoDom": dominance}
        result[f"WORKER{(i * len(utterance.ballots) + k) % N_WORKERS + 1:08d}"] = answers
    return result


def _speaker_lines(labelled: Sequence[tuple[str, Planned]], numbers: dict[str, int]) -> Iterator[str]:
    """Yield the gender of each speaker, then the speaker of each turn."""
    genders = {numbers[utterance.voice.name]: utterance.voice.gender for _, utterance in labelled}
    yield from (f"Speaker_{number}; {gender.capitalize()}" for number, gender in sorted(genders.items()))
    yield from (f"{name}.wav;{numbers[utterance.voice.name]}" for name, utterance in labelled)


def _write(path: Path, lines: Sequence[str] | Iterator[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
