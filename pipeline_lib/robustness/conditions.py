r"""What is done to a waveform under each condition.

*Noise.* A stretch of one recording of noise, all files with equal chances, is added at the level's ratio of mean powers
(``augment.noisy``). A stretch without sound is drawn again.

*Rooms.* The waveform is convolved with an impulse response whose reverberation time lies in the level's range, moved
back by the direct sound, cut to its length, and has the energy that it had (``augment.reverberant``).

*Codec.* See ``codec``.

*Band.* A linear-phase filter of ``TAPS`` taps, without delay: -6 dB at the limit, below -80 dB from 60 Hz beyond it.

*Clipping.* The samples beyond the level that the given share of them exceeds are set to it, and the waveform then has
the energy that it had, as an overloaded input has that is played at its usual loudness.

Every random draw follows from the seed, the utterance and the condition: the levels of a condition differ in their
level alone, and a copy does not depend on which others are made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import firwin, oaconvolve

from pipeline_lib.audio.decoding import SAMPLE_RATE, SILENCE
from pipeline_lib.finetuning.augmentation import augment, rooms
from pipeline_lib.finetuning.augmentation.sounds import Sound
from pipeline_lib.robustness.codec import coded
from pipeline_lib.robustness.levels import Level

TAPS = 1601  # 0.1 s
_KAISER_BETA = 8.0  # side lobes below -80 dB
_DRAWS = 100  # of a stretch of noise, before all are taken for silent


class Unaltered(ValueError):
    """A recording that cannot be had under a condition; the message is the reason, the same for all alike."""


@dataclass(frozen=True)
class Sources:
    """Recordings that noise and rooms draw from.

    Attributes:
        noises: of noise
        responses: by the level of rooms its impulse responses
    """

    noises: Sequence[Sound] = ()
    responses: Mapping[str, Sequence[Sound]] = field(default_factory=dict)


def generator(seed: int, utterance: str, condition: str) -> np.random.Generator:
    """Return the generator of an utterance's draws under a condition, the same for all its levels.

    Args:
        seed: of the run
        utterance: its identifier
        condition: its name
    """
    digest = hashlib.sha256(json.dumps([seed, utterance, condition]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def altered(waveform: np.ndarray, level: Level, rng: np.random.Generator, sources: Sources) -> np.ndarray:
    """Return the waveform under a condition; beyond +-1 it may have samples.

    Args:
        waveform: float32, 16 kHz, shape ``(n_samples,)``
        level: the condition and its level
        rng: see ``generator``
        sources: noises and responses, where the condition needs them

    Returns:
        shape ``(n_samples,)``

    Raises:
        Unaltered: the recording is too quiet, or the noise is
    """
    if augment.power(waveform) <= SILENCE**2:
        raise Unaltered(f"quieter than {20 * np.log10(SILENCE):.0f} dB of full scale")
    if level.condition == "noise":
        return augment.noisy(waveform, _noise(len(waveform), rng, sources.noises), level.number)
    if level.condition == "rooms":
        responses = sources.responses[level.value]
        return augment.reverberant(waveform, rooms.recorded(responses[int(rng.random() * len(responses))].path))
    if level.condition == "codec":
        return coded(waveform, *level.bitrate)
    if level.condition == "band":
        return limited(waveform, *level.range)
    if level.condition == "clipping":
        return clipped(waveform, level.number / 100)
    return waveform


def limited(waveform: np.ndarray, low_khz: float, high_khz: float) -> np.ndarray:
    """Return what of the waveform lies between two frequencies.

    Args:
        waveform: 16 kHz, shape ``(n_samples,)``
        low_khz: 0 passes everything below ``high_khz``
        high_khz: below 8

    Returns:
        shape ``(n_samples,)``
    """
    limits = [1000 * high_khz] if low_khz == 0 else [1000 * low_khz, 1000 * high_khz]
    taps = firwin(TAPS, limits, window=("kaiser", _KAISER_BETA), pass_zero=low_khz == 0, fs=SAMPLE_RATE)
    delay = TAPS // 2
    return oaconvolve(waveform, taps.astype(waveform.dtype))[delay : delay + len(waveform)]


def clipped(waveform: np.ndarray, share: float) -> np.ndarray:
    """Return the waveform with its largest samples at one size, at the energy that it had.

    Args:
        waveform: shape ``(n_samples,)``
        share: of the samples that are largest, in (0, 1)

    Returns:
        shape ``(n_samples,)``

    Raises:
        Unaltered: no sound is left at that share
    """
    size = np.sort(np.abs(waveform))
    limit = size[-max(1, round(share * len(size)))]
    if limit == 0:
        raise Unaltered("digital silence but for fewer samples than are to be clipped")
    cut = np.clip(waveform, -limit, limit)
    return cut * np.sqrt(augment.power(waveform) / augment.power(cut)).astype(waveform.dtype)


def _noise(n_samples: int, rng: np.random.Generator, noises: Sequence[Sound]) -> np.ndarray:
    """Return a stretch of a noise that has sound.

    Raises:
        Unaltered: none was drawn in ``_DRAWS`` draws
    """
    for _ in range(_DRAWS):
        sound = noises[int(rng.integers(len(noises)))]
        stretch = augment.stretch(sound, n_samples, float(rng.random()))
        if augment.power(stretch) > SILENCE**2:
            return stretch
    raise Unaltered(f"no sound in {_DRAWS} stretches of noise")
