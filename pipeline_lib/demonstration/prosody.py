"""The manner of an utterance: seven numbers relative to the voice's own manner, and the rise of a question."""

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Prosody:
    """Each number is in standard deviations around the voice's usual manner, 0 = as usual.

    Args:
        rate: speaking rate
        pitch: mean pitch
        pitch_range: liveliness of the intonation
        pauses: silence between words
        tremor: depth of a 6 Hz amplitude tremor
        fade: loudness at the end against the beginning
        volume: overall loudness
        rise: True for the rising intonation of a question
    """

    rate: float
    pitch: float
    pitch_range: float
    pauses: float
    tremor: float
    fade: float
    volume: float
    rise: bool

    def values(self) -> np.ndarray:
        """Return the eight numbers, float64, shape ``(8,)``."""
        return np.array(astuple(self), dtype=np.float64)


#            rate  pitch range pauses tremor fade  volume | probability of a rise
_MEANS = {
    "anger": ((1.1, 0.4, 0.9, -0.9, -0.5, -1.2, 1.5), 0.05),
    "happiness": ((0.8, 0.9, 1.2, -0.7, -0.3, 0.0, 0.8), 0.15),
    "fear": ((0.9, 1.2, -0.5, 0.3, 2.0, 0.6, -0.2), 0.25),
    "surprise": ((0.3, 1.3, 1.0, 0.2, 0.8, 1.5, 0.6), 0.65),
    "neutral": ((0.0, -0.2, -0.5, -0.6, -0.7, 0.3, 0.0), 0.05),
    "disgust": ((-0.6, -0.4, 0.1, 0.2, -0.4, -0.8, 0.1), 0.05),
    "sadness": ((-1.5, -0.6, -1.0, 1.1, 0.8, -1.0, -1.2), 0.05),
    "contempt": ((-1.0, -0.5, 0.5, 1.5, -0.5, 0.8, -0.3), 0.20),
}
SPREAD = 1.0  # standard deviation inside an emotion
_LIMIT = 3.0


def draw(rng: np.random.Generator, emotion: str) -> Prosody:
    """Draw the manner of an utterance; the emotions overlap widely.

    Args:
        rng: source of the draw
        emotion: one of ``labels.PRIMARY``
    """
    means, rise = _MEANS[emotion]
    drawn = np.clip(np.array(means) + rng.normal(0, SPREAD, len(means)), -_LIMIT, _LIMIT)
    return _prosody(drawn, bool(rng.random() < rise))


def draw_any(rng: np.random.Generator) -> Prosody:
    """Draw from the whole range that any emotion could reach, without reference to any."""
    drawn = np.clip(rng.normal(0, 1.4, 7), -_LIMIT, _LIMIT)
    return _prosody(drawn, bool(rng.random() < 0.2))


def arousal(prosody: Prosody) -> float:
    """Return the manner's arousal, about -3 to 3."""
    return (prosody.rate + prosody.pitch + prosody.pitch_range - 0.5 * prosody.pauses + prosody.volume) / 3


def _prosody(drawn: np.ndarray, rise: bool) -> Prosody:
    rate, pitch, pitch_range, pauses, tremor, fade, volume = (round(float(number), 3) for number in drawn)
    return Prosody(rate, pitch, pitch_range, pauses, tremor, fade, volume, rise)
