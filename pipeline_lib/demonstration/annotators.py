"""Simulated annotators: noisy votes on and ratings of an acted emotion."""

import numpy as np

from pipeline_lib.labels import OTHER, PRIMARY

N_ANNOTATORS = 5
SOUNDS_LIKE = {
    "anger": "happiness",
    "happiness": "anger",
    "fear": "surprise",
    "surprise": "fear",
    "sadness": "contempt",
    "contempt": "sadness",
    "neutral": "disgust",
    "disgust": "neutral",
}
READS_LIKE = {
    "anger": "disgust",
    "disgust": "anger",
    "happiness": "surprise",
    "surprise": "happiness",
    "sadness": "fear",
    "fear": "sadness",
    "neutral": "contempt",
    "contempt": "neutral",
}
_PROTOTYPES = {  # arousal, valence, dominance on a scale of 1 to 7
    "anger": (5.6, 2.4, 5.4),
    "contempt": (3.8, 2.8, 5.0),
    "disgust": (4.2, 2.5, 4.6),
    "fear": (5.2, 2.6, 2.8),
    "happiness": (5.2, 5.8, 4.8),
    "neutral": (3.6, 4.1, 4.2),
    "sadness": (2.8, 2.5, 3.0),
    "surprise": (5.2, 4.5, 3.8),
}
POLARITY = {
    "anger": -1.0,
    "contempt": -0.8,
    "disgust": -1.0,
    "fear": -0.8,
    "happiness": 1.2,
    "neutral": 0.1,
    "sadness": -1.0,
    "surprise": 0.4,
    None: 0.0,
}


def vote(rng: np.random.Generator, emotions: tuple[str, ...]) -> tuple[str, ...]:
    """Return each annotator's vote on an utterance; several emotions divide the annotators.

    Args:
        rng: source of the annotators' noise
        emotions: emotions of the utterance
    """
    return tuple(_vote(rng, emotions[int(rng.integers(len(emotions)))]) for _ in range(N_ANNOTATORS))


def _vote(rng: np.random.Generator, emotion: str) -> str:
    chance = rng.random()
    if chance < 0.72:
        return emotion
    if chance < 0.80:
        return SOUNDS_LIKE.get(emotion, OTHER)
    if chance < 0.88:
        return READS_LIKE.get(emotion, OTHER)
    return (*PRIMARY, OTHER)[int(rng.integers(len(PRIMARY) + 1))]


def rate(
    rng: np.random.Generator, emotions: tuple[str, ...], arousal: float, polarity: float
) -> tuple[tuple[int, ...], ...]:
    """Return each annotator's arousal, valence and dominance, whole numbers in [1, 7].

    Args:
        rng: source of the annotators' noise
        emotions: emotions of the utterance; their prototypes are averaged
        arousal: of the manner of speaking, about -3 to 3
        polarity: of the words, in [-1, 1.2]
    """
    prototypes = [_PROTOTYPES[emotion] for emotion in emotions if emotion in _PROTOTYPES] or [_PROTOTYPES["neutral"]]
    perceived = np.mean(prototypes, axis=0) * 0.6 + np.array([4.2, 3.8, 4.2]) * 0.4
    perceived = perceived + np.array([0.45 * arousal, 0.8 * polarity, 0.3 * arousal + 0.1 * polarity])
    ratings = np.clip(np.round(perceived + rng.normal(0, 0.9, (N_ANNOTATORS, 3))), 1, 7)
    return tuple(tuple(int(rating) for rating in row) for row in ratings)
