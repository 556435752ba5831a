r"""What is done to a chunk of training audio: speed, then the room, then noise.

All of it follows from the chunk's seed and the batch's speed, which the epoch's plan holds: a resumed run, any number
of workers and any number of processes hear the same. Neither speed nor room nor noise changes the chunk's labels.

*Speed.* The chunk is resampled as if it had been recorded at another rate: tempo and pitch change together.

*Room.* The chunk is convolved with an impulse response, moved back by the response's direct sound and cut to its
length, so that it keeps its timing; its energy is made what it was. What was said before the chunk does not ring into
it.

*Noise.* A stretch of one recording, drawn with equal chances from all files, is added at a ratio drawn uniformly,

.. math:: y = x + g n, \quad g = \sqrt{\frac{P(x)}{P(n) \, 10^{SNR / 10}}}, \quad P(x) = \frac{1}{N} \sum_i x_i^2

with both powers over the whole chunk, pauses included; music may be any stretch of an hour, and only that is decoded. A
recording shorter than the chunk is repeated from a random place on, so that the ratio holds all along. The noise is not
put into the room: recordings bring their own along, and it would double the dearest step (Kaldi's recipe does convolve
it). Against the reverberant speech the ratio is the same, its energy being that of the dry.

Silence, which is a mean power of at most ``SILENCE`` squared, gets no noise, and a silent stretch is none. Sums beyond
+-1 stay as they are: they are floats, and clipping would add distortion that the settings do not name.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import soxr
from scipy.signal import oaconvolve

from pipeline_lib.audio.decoding import SAMPLE_RATE, SILENCE, decode
from pipeline_lib.command import progress
from pipeline_lib.finetuning.augmentation import rooms
from pipeline_lib.finetuning.augmentation.rooms import Response
from pipeline_lib.finetuning.augmentation.sounds import Sound, Sounds
from pipeline_lib.params.augmentation import AugmentationSettings


class Augmentation:
    """An entry's augmentation, with the files or rooms that it draws from."""

    def __init__(
        self,
        settings: AugmentationSettings,
        noises: Sequence[Sound],
        responses: Sequence[Response | Path],
        minimum_samples: int = 1,
    ) -> None:
        """Take the parts.

        Args:
            settings: probabilities and ratios
            noises: recordings to draw from
            responses: rooms, or the files that hold them
            minimum_samples: a chunk that speed makes shorter is filled up with zeros
        """
        self.settings, self.noises, self.responses = settings, noises, responses
        self.minimum_samples = minimum_samples

    def __call__(self, waveform: np.ndarray, seed: int, speed: float) -> np.ndarray:
        """Return the augmented chunk, float32, shape ``(n_samples / speed,)``.

        Args:
            waveform: float32, 16 kHz, shape ``(n_samples,)``
            seed: of this chunk in this epoch
            speed: of its batch
        """
        rng = np.random.default_rng(seed)
        chances = rng.random(2)
        augmented = played(waveform, speed)
        if chances[0] < self.settings.reverberation.probability:
            response = self.responses[rng.integers(len(self.responses))]
            augmented = reverberant(augmented, rooms.recorded(response) if isinstance(response, Path) else response)
        if chances[1] < self.settings.noise.probability:
            sound = self.noises[rng.integers(len(self.noises))]
            ratio = rng.uniform(*self.settings.noise.snr_db[str(sound.category)])
            augmented = noisy(augmented, stretch(sound, len(augmented), float(rng.random())), ratio)
        return np.pad(augmented, (0, max(0, self.minimum_samples - len(augmented))))


def make(
    settings: AugmentationSettings, sounds: Sounds, seed: int, minimum_samples: int, *, show_progress: bool
) -> Augmentation | None:
    """Return the augmentation, rooms simulated where they are; None where all kinds of it are off.

    Args:
        settings: the entry's
        sounds: the files that it draws from
        seed: of the training
        minimum_samples: the shortest chunk that the encoder takes
        show_progress: whether simulation shows a bar
    """
    if not settings.is_on:
        return None
    reverberation = settings.reverberation
    responses: list[Response | Path] = [sound.path for sound in sounds.responses]
    if reverberation.probability and reverberation.root is None:
        with (
            progress(reverberation.rooms, "simulating rooms")
            if show_progress
            else nullcontext(lambda n: None) as advance
        ):
            responses += rooms.simulated(
                reverberation.rooms, (reverberation.rt60_s[0], reverberation.rt60_s[1]), seed, advance
            )
    return Augmentation(settings, sounds.noises, responses, minimum_samples)


def played(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Return the waveform at another speed, shape ``(round(n_samples / speed),)``."""
    if speed == 1.0:
        return waveform
    expected = round(len(waveform) / speed)
    made = soxr.resample(waveform, speed * SAMPLE_RATE, SAMPLE_RATE, quality="HQ")[:expected]
    return np.pad(made, (0, expected - len(made)))


def reverberant(waveform: np.ndarray, response: Response) -> np.ndarray:
    """Return the waveform in a room, same length and energy; unchanged where either is silent."""
    wet = oaconvolve(waveform, response.samples)[response.direct : response.direct + len(waveform)]
    before, after = power(waveform), power(wet)
    if before == 0 or after == 0:
        return waveform
    return wet * np.sqrt(before / after).astype(waveform.dtype)


def noisy(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Return the waveform with the noise at that ratio of mean powers in decibels; unchanged where either is silent."""
    signal, disturbance = power(waveform), power(noise)
    if min(signal, disturbance) <= SILENCE**2:
        return waveform
    gain = np.sqrt(signal / (disturbance * 10 ** (snr_db / 10)))
    return waveform + gain.astype(waveform.dtype) * noise


def power(waveform: np.ndarray) -> np.float64:
    """Return the mean square, >= 0."""
    return np.mean(np.square(waveform, dtype=np.float64))


def stretch(sound: Sound, n_samples: int, position: float) -> np.ndarray:
    """Return so many samples of a recording; one that is shorter is repeated.

    Args:
        sound: of any length
        n_samples: expected, at 16 kHz
        position: where it begins, in [0, 1): of the recording less the stretch, or of a shorter recording itself
    """
    expected_s = n_samples / SAMPLE_RATE
    if sound.duration_s > expected_s:
        return np.resize(decode(sound.path, position * (sound.duration_s - expected_s), expected_s), n_samples)
    whole = decode(sound.path)
    return np.resize(np.roll(whole, -int(position * len(whole))), n_samples)
