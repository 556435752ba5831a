"""Segmentation of a recording for recognition: nothing where it is silent, pieces where it is long."""

from collections.abc import Sequence

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE

FRAME = SAMPLE_RATE // 40  # 25 ms, over which loudness is measured
PAUSE = 8  # frames: a cut lies in the middle of the quietest 200 ms
EARLIEST = 0.75  # of a full chunk; a cut lies in its last quarter


def is_silent(waveform: np.ndarray, below_dbfs: float) -> bool:
    """Return whether the loudest 25 ms stay below a level.

    Args:
        waveform: mono, 16 kHz, in [-1, 1], shape ``(n_samples,)``
        below_dbfs: root mean square in dB, 0 or less; 0 is a square wave of full scale
    """
    loudest = _power(waveform).max(initial=0.0)
    return bool(loudest < 10 ** (below_dbfs / 10))


def cut(waveform: np.ndarray, max_s: float) -> list[np.ndarray]:
    """Return the recording in pieces of at most ``max_s``, cut where it is quietest.

    Every cut lies between three quarters of a full piece and a full piece after the one before, in the middle of the
    quietest 200 ms there, the earliest of equals, and leaves at least a quarter of a piece.

    Args:
        waveform: mono, 16 kHz, shape ``(n_samples,)``
        max_s: longest piece in seconds

    Returns:
        views, each of shape ``(n_samples,)``; concatenated they are the recording
    """
    longest = int(max_s * SAMPLE_RATE)
    pieces = []
    while len(waveform) > longest:
        first = int(EARLIEST * longest)
        last = min(longest, len(waveform) - (longest - first))
        end = first + _quietest(waveform[first:last])
        pieces.append(waveform[:end])
        waveform = waveform[end:]
    return [*pieces, waveform]


def join(texts: Sequence[str]) -> str:
    """Return the pieces' texts as one, single spaces between words."""
    return " ".join(" ".join(texts).split())


def _quietest(waveform: np.ndarray) -> int:
    """Return the sample in the middle of the quietest 200 ms; of a shorter stretch, its middle."""
    power = _power(waveform)
    if len(power) <= PAUSE:
        return len(waveform) // 2
    pauses = np.convolve(power, np.ones(PAUSE), mode="valid")
    return (int(pauses.argmin()) + PAUSE // 2) * FRAME


def _power(waveform: np.ndarray) -> np.ndarray:
    """Return the mean square of every frame, the last one filled up with zeros, shape ``(n_frames,)``."""
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % FRAME))
    return (padded.reshape(-1, FRAME) ** 2).mean(axis=1)
