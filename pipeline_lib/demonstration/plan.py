"""Draw a demonstration corpus from its seed: everything but the sound.

Audio and words carry different, noisy evidence. Given the emotion, the manner of speaking and the marker words are
drawn independently; manner leaves other pairs of emotions alike (anger and happiness) than words do (anger and
disgust). The label is the plurality of simulated annotators, as in MSP-Podcast.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline_lib.demonstration import annotators, prosody, sentences
from pipeline_lib.demonstration.prosody import Prosody
from pipeline_lib.demonstration.voices import VOICES, Voice
from pipeline_lib.labels import NO_AGREEMENT, OTHER, PRIMARY, consensus
from pipeline_lib.params.demonstration import DemonstrationSettings

SPLITS = ("train", "dev", "test")
HIDDEN = "test3"  # a further test split whose labels are in no layout
# shares of each consensus label in a split: anger .. surprise as in labels.PRIMARY, then X and O
_SHARES: dict[str, Mapping[str, float]] = {
    "train": dict(zip((*PRIMARY, NO_AGREEMENT, OTHER), (11, 6.5, 5.5, 5, 18, 22, 10, 6.5, 10, 5.5), strict=True)),
    "dev": dict(zip((*PRIMARY, NO_AGREEMENT, OTHER), (10, 8, 8, 8, 18, 21, 10, 8, 5, 4), strict=True)),
    "test": dict.fromkeys(PRIMARY, 1),
    HIDDEN: dict.fromkeys(PRIMARY, 1),
}
_WORDS = {"own": 0.62, "partner": 0.14, "any": 0.08}  # emotion of an utterance's marker; else it has none
_NEUTRAL_WORDS = {"own": 0.40, "partner": 0.10, "any": 0.06}
_TEMPTATION = 0.10  # how often the manner is drawn from the emotion that sounds alike


@dataclass(frozen=True)
class Planned:
    """One utterance before it is spoken; ``marker`` and ``emotions`` are for probes and never written.

    Args:
        split: train, dev, test or test3
        voice: speaker
        text: words
        prosody: manner
        phase: of the tremor, in [0, 1)
        ballots: each annotator's vote
        ratings: each annotator's arousal, valence and dominance, in the order of the ballots
        marker: emotion whose words the text carries
        emotions: intended emotions
    """

    split: str
    voice: Voice
    text: str
    prosody: Prosody
    phase: float
    ballots: tuple[str, ...]
    ratings: tuple[tuple[int, ...], ...]
    marker: str | None
    emotions: tuple[str, ...]

    @property
    def votes(self) -> dict[str, int]:
        """The annotators' votes counted, sorted by label."""
        return dict(sorted(Counter(self.ballots).items()))

    @property
    def attributes(self) -> tuple[float, ...]:
        """The ratings' means, each in [1, 7], rounded to 0.01."""
        return tuple(round(float(mean), 2) for mean in np.mean(self.ratings, axis=0))

    @property
    def emotion(self) -> str:
        """The consensus of the votes."""
        return consensus(self.votes)


def plan(settings: DemonstrationSettings) -> list[Planned]:
    """Draw everything but the sound: train, dev, test, test3 in order, each shuffled."""
    sizes = {"train": settings.train, "dev": settings.dev, "test": settings.test, HIDDEN: settings.hidden}
    return [
        utterance
        for number, (split, size) in enumerate(sizes.items())
        for utterance in _plan_split(np.random.default_rng([settings.seed, number]), split, size)
    ]


def quotas(split: str, size: int) -> dict[str, int]:
    """Return the number of utterances of each consensus label in a split, by largest remainder.

    Args:
        split: train, dev, test or test3
        size: number of its utterances
    """
    shares = _SHARES[split]
    exact = {label: size * share / sum(shares.values()) for label, share in shares.items()}
    counts = {label: int(value) for label, value in exact.items()}
    for label in sorted(exact, key=lambda label: counts[label] - exact[label])[: size - sum(counts.values())]:
        counts[label] += 1
    return counts


def _plan_split(rng: np.random.Generator, split: str, size: int) -> list[Planned]:
    """Draw utterances until the votes have filled every label's quota; surplus ones are dropped."""
    left = quotas(split, size)
    result: list[Planned] = []
    while len(result) < size:
        open_labels = [label for label, count in left.items() if count > 0]
        drawn = _plan_one(rng, split, open_labels[int(rng.integers(len(open_labels)))])
        if left.get(drawn.emotion, 0) > 0:
            left[drawn.emotion] -= 1
            result.append(drawn)
    return [result[i] for i in rng.permutation(size)]


def _plan_one(rng: np.random.Generator, split: str, label: str) -> Planned:
    """Draw one utterance that is meant to be rated as ``label``; O and X mix two emotions."""
    if label in PRIMARY:
        sounds = reads = label
        emotions: tuple[str, ...] = (label,)
    else:
        sounds, reads = (PRIMARY[int(i)] for i in rng.choice(len(PRIMARY), 2, replace=False))
        emotions = (sounds, reads) if label == NO_AGREEMENT else (OTHER,)
    manner = prosody.draw(rng, annotators.SOUNDS_LIKE[sounds] if rng.random() < _TEMPTATION else sounds)
    marker = _marker(rng, reads)
    owner = "test" if split == HIDDEN else split  # of voices and sentences
    voice = VOICES[owner][int(rng.integers(len(VOICES[owner])))]
    return Planned(
        split=split,
        voice=voice,
        text=sentences.draw(rng, marker, "open" if owner == "train" else owner),
        prosody=manner,
        phase=round(float(rng.random()), 3),
        ballots=annotators.vote(rng, emotions),
        ratings=annotators.rate(rng, emotions, prosody.arousal(manner), annotators.POLARITY[marker]),
        marker=marker,
        emotions=emotions,
    )


def _marker(rng: np.random.Generator, emotion: str) -> str | None:
    """Draw the emotion whose words an utterance of that emotion carries, None for neutral words."""
    chances = _NEUTRAL_WORDS if emotion == "neutral" else _WORDS
    choices = (emotion, annotators.READS_LIKE[emotion], PRIMARY[int(rng.integers(len(PRIMARY)))], None)
    weights = [*chances.values(), 1 - sum(chances.values())]
    return choices[int(rng.choice(len(choices), p=weights))]
