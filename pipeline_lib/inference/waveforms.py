"""Recordings as a system in memory reads them: decoded once, by the corpus stage's own decoding and tests."""

import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile

from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio, examine
from pipeline_lib.errors import InputError
from pipeline_lib.experts.readers import Recordings
from pipeline_lib.inference.prediction import Recording

SUBTYPES = {"int16": "PCM_16", "int32": "PCM_32", "float32": "FLOAT", "float64": "DOUBLE"}  # WAV's, by type of samples


class Waveforms(Recordings):
    """Recordings that are decoded already; a part is a waveform, 16 kHz, float32, shape ``(n_samples,)``, or None."""

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> np.ndarray | None:
        """Return a chunk, float32, 16 kHz, shape ``(n_samples,)``; None where there is no audio.

        Args:
            row: number of the utterance
            start_s: seconds from the utterance's beginning
            duration_s: in seconds; None reads to the utterance's end
        """
        waveform = self.parts[row]
        if waveform is None:
            return None
        first = round(start_s * SAMPLE_RATE)
        chunk = np.asarray(waveform[first : None if duration_s is None else first + round(duration_s * SAMPLE_RATE)])
        return np.pad(chunk, (0, max(0, self.minimum_samples - len(chunk))))

    @classmethod
    def of(cls, waveforms: list[np.ndarray | None]) -> Self:
        """Return the reader of waveforms, each of shape ``(n_samples,)``, None where an utterance has no audio."""
        parts: list[Any] = waveforms  # read by __call__ alone
        return cls(parts, np.array([seconds(waveform) for waveform in waveforms]), [None] * len(waveforms))


def seconds(waveform: np.ndarray | None) -> float:
    """Return how long a waveform of 16 kHz, shape ``(n_samples,)``, lasts; NaN where there is none."""
    return float("nan") if waveform is None else len(waveform) / SAMPLE_RATE


def waveform_of(recording: Recording) -> np.ndarray | None:
    """Return a recording's waveform, 16 kHz, float32, shape ``(n_samples,)``; None where it has text alone.

    Args:
        recording: a file, a part of one, or samples

    Raises:
        BadAudio: the corpus stage would quarantine it for another reason than silence or its length
        InputError: samples are not as ``Recording`` describes them
    """
    if recording.audio is None:
        return None
    if isinstance(recording.audio, (str, Path)):
        return _examined(Path(recording.audio), recording)
    return _of_samples(recording, recording.audio)


def _examined(path: Path, recording: Recording) -> np.ndarray:
    return examine(path, allow_silent=True, segment=(recording.start, recording.end)).samples


def _of_samples(recording: Recording, audio: Any) -> np.ndarray:
    """Return samples as the waveform of a file that holds them: channels become one, and rates 16 kHz, as a file's."""
    try:
        samples, rate = audio
        samples = np.asarray(samples)
    except (TypeError, ValueError):
        raise InputError(
            f"{recording.id!r}: audio is {type(audio).__name__}, expected a path, or samples with their rate"
        ) from None
    if samples.dtype == np.float16:
        samples = samples.astype(np.float32)
    if samples.dtype.name not in SUBTYPES or samples.ndim not in (1, 2) or not samples.size:
        raise InputError(
            f"{recording.id!r}: samples are {samples.dtype} of shape {samples.shape}, expected one of"
            f" {list(SUBTYPES)} of shape (n_samples,) or (n_samples, n_channels)"
        )
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise InputError(
            f"{recording.id!r}: samples have shape {samples.shape}, expected (n_samples, n_channels): transpose them"
        )
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or rate <= 0:
        raise InputError(f"{recording.id!r}: the rate is {rate!r}, expected a whole number of Hz")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.wav"
        soundfile.write(path, samples, int(rate), subtype=SUBTYPES[samples.dtype.name])
        try:
            return _examined(path, recording)
        except BadAudio as error:
            raise BadAudio(error.reason, str(error).replace(str(path), repr(recording.id))) from None
