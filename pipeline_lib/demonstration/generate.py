"""Make a demonstration corpus: a plan drawn from the seed, then speech.

Audio and words carry different, noisy evidence. Given the emotion, the manner of speaking and the marker words are
drawn independently; manner leaves other pairs of emotions alike (anger and happiness) than words do (anger and
disgust). The label is the plurality of simulated annotators, as in MSP-Podcast. It is synthetic speech for trying the
pipeline out: its numbers say nothing about people.
"""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pipeline_lib.command import progress
from pipeline_lib.demonstration import annotators, prosody, sentences
from pipeline_lib.demonstration.prosody import Prosody
from pipeline_lib.demonstration.settings import DemonstrationSettings
from pipeline_lib.demonstration.synthesis import SAMPLE_RATE, Utterance, speak_all
from pipeline_lib.demonstration.voices import VOICES, Voice
from pipeline_lib.labels import ATTRIBUTES, NO_AGREEMENT, OTHER, PRIMARY, consensus

NOTICE = "synthetic demonstration speech (eSpeak NG): its numbers show that the pipeline works, not how people sound"
COLUMNS = (
    "utterance_id", "audio", "split", "speaker", "gender", "emotion", "votes", *ATTRIBUTES, "reference_text",
)  # fmt: skip
SPLITS = ("train", "dev", "test")
_SHARES = {  # of each consensus label in a split: anger .. surprise as in labels.PRIMARY, then X and O
    "train": dict(zip((*PRIMARY, NO_AGREEMENT, OTHER), (11, 6.5, 5.5, 5, 18, 22, 10, 6.5, 10, 5.5), strict=True)),
    "dev": dict(zip((*PRIMARY, NO_AGREEMENT, OTHER), (10, 8, 8, 8, 18, 21, 10, 8, 5, 4), strict=True)),
    "test": dict.fromkeys(PRIMARY, 1),
}
_WORDS = {"own": 0.62, "partner": 0.14, "any": 0.08}  # whose marker an utterance carries; else none
_NEUTRAL_WORDS = {"own": 0.40, "partner": 0.10, "any": 0.06}
_TEMPTATION = 0.10  # how often the manner is drawn from the emotion that sounds alike


@dataclass(frozen=True)
class Planned:
    """One utterance before it is spoken; ``marker`` and ``emotions`` are for probes and never written."""

    split: str
    voice: Voice
    text: str
    prosody: Prosody
    phase: float
    votes: dict[str, int]
    attributes: tuple[float, ...]
    marker: str | None
    emotions: tuple[str, ...]

    @property
    def emotion(self) -> str:
        """The consensus of the votes."""
        return consensus(self.votes)


def generate(settings: DemonstrationSettings, out: Path) -> None:
    """Write ``audio/*.flac``, ``corpus.csv`` and ``README.txt`` into the folder ``out``, replacing it."""
    planned = plan(settings)
    temporary = out.with_name(out.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "audio").mkdir(parents=True)
    names = _names(planned)
    spoken = speak_all([Utterance(p.text, p.voice.espeak, p.prosody, p.phase) for p in planned], settings.workers)
    with progress(len(planned), "speaking") as advance:
        for name, wave in zip(names, spoken, strict=True):
            soundfile.write(temporary / "audio" / f"{name}.flac", wave, SAMPLE_RATE, subtype="PCM_16")
            advance(1)
    _write_table(temporary / "corpus.csv", names, planned)
    readme = f"This is {NOTICE}.\nMade by stages/demonstration.py from seed {settings.seed}.\n"
    (temporary / "README.txt").write_text(readme, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def plan(settings: DemonstrationSettings) -> list[Planned]:
    """Draw everything but the sound: train, dev, test in order, each shuffled."""
    return [
        each
        for number, split in enumerate(SPLITS)
        for each in _plan_split(np.random.default_rng([settings.seed, number]), split, getattr(settings, split))
    ]


def quotas(split: str, size: int) -> dict[str, int]:
    """Return how many utterances of each consensus label a split of that size holds, by largest remainder."""
    shares = _SHARES[split]
    exact = {label: size * share / sum(shares.values()) for label, share in shares.items()}
    counts = {label: int(value) for label, value in exact.items()}
    for label in sorted(exact, key=lambda label: counts[label] - exact[label])[: size - sum(counts.values())]:
        counts[label] += 1
    return counts


def _plan_split(rng: np.random.Generator, split: str, size: int) -> list[Planned]:
    """Draw utterances until the votes have filled every label's quota; surplus ones are dropped."""
    left = quotas(split, size)
    found: list[Planned] = []
    while len(found) < size:
        open_labels = [label for label, count in left.items() if count > 0]
        drawn = _plan_one(rng, split, open_labels[int(rng.integers(len(open_labels)))])
        if left.get(drawn.emotion, 0) > 0:
            left[drawn.emotion] -= 1
            found.append(drawn)
    return [found[i] for i in rng.permutation(size)]


def _plan_one(rng: np.random.Generator, split: str, label: str) -> Planned:
    """Draw one utterance that was meant to be heard as ``label``; O and X mix two emotions."""
    if label in PRIMARY:
        sounds = reads = label
        emotions: tuple[str, ...] = (label,)
    else:
        sounds, reads = (PRIMARY[int(i)] for i in rng.choice(len(PRIMARY), 2, replace=False))
        emotions = (sounds, reads) if label == NO_AGREEMENT else (OTHER,)
    manner = prosody.draw(rng, annotators.SOUNDS_LIKE[sounds] if rng.random() < _TEMPTATION else sounds)
    marker = _marker(rng, reads)
    voice = VOICES[split][int(rng.integers(len(VOICES[split])))]
    return Planned(
        split=split,
        voice=voice,
        text=sentences.draw(rng, marker, "open" if split == "train" else split),
        prosody=manner,
        phase=round(float(rng.random()), 3),
        votes=annotators.vote(rng, emotions),
        attributes=annotators.rate(rng, emotions, prosody.arousal(manner), annotators.POLARITY[marker]),
        marker=marker,
        emotions=emotions,
    )


def _marker(rng: np.random.Generator, emotion: str) -> str | None:
    """Draw whose words an utterance of that emotion carries, None for nobody's."""
    chances = _NEUTRAL_WORDS if emotion == "neutral" else _WORDS
    choices = (emotion, annotators.READS_LIKE[emotion], PRIMARY[int(rng.integers(len(PRIMARY)))], None)
    weights = [*chances.values(), 1 - sum(chances.values())]
    return choices[int(rng.choice(len(choices), p=weights))]


def _names(planned: list[Planned]) -> list[str]:
    counts = dict.fromkeys(SPLITS, 0)
    names = []
    for each in planned:
        names.append(f"{each.split}_{counts[each.split]:05d}")
        counts[each.split] += 1
    return names


def _write_table(path: Path, names: list[str], planned: list[Planned]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, each in zip(names, planned, strict=True):
            votes = json.dumps(each.votes, sort_keys=True)
            who = (each.voice.name, each.voice.gender)
            heard = (each.emotion, votes, *each.attributes)
            writer.writerow((name, f"audio/{name}.flac", each.split, *who, *heard, each.text))
