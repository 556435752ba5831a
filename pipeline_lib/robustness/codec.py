"""Lossy codecs there and back, by libsndfile: LAME's MP3, Opus, G.711 mu-law and A-law, GSM 06.10.

MP3 and Opus code the 16 kHz that every encoder here reads. The three of the telephone work at 8 kHz: the waveform is
resampled down, coded, decoded and resampled up. What comes back has the length and the timing of what went in: Opus
and libsndfile's MP3 decoder remove the codec's delay themselves, the latter only where the encoder wrote it into a tag,
for which the frames of low bitrates are too small; without a tag ``MP3_DELAY`` samples are removed here.
"""

import io

import numpy as np
import soundfile
import soxr

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.robustness.levels import BITRATES

MP3_DELAY = 1105  # samples: LAME's encoder 576, a decoder 529
_TELEPHONE_RATE = 8000  # Hz
_SUBTYPES = {"mulaw": "ULAW", "alaw": "ALAW", "gsm": "GSM610"}


def coded(waveform: np.ndarray, codec: str, kbps: int) -> np.ndarray:
    """Return the waveform after coding and decoding, at its own length and timing.

    Args:
        waveform: float32 in [-1, 1], 16 kHz, shape ``(n_samples,)``
        codec: "mp3", "opus", "mulaw", "alaw" or "gsm"
        kbps: nominal bitrate of mp3 and opus in kbit/s; of others ignored

    Returns:
        float32, shape ``(n_samples,)``
    """
    if codec in _SUBTYPES:
        down = soxr.resample(waveform, SAMPLE_RATE, _TELEPHONE_RATE, quality="VHQ")
        back = _through(down, _TELEPHONE_RATE, "WAV", _SUBTYPES[codec])[: len(down)]  # GSM fills its last block up
        return fitted(soxr.resample(back, _TELEPHONE_RATE, SAMPLE_RATE, quality="VHQ"), len(waveform))
    lowest, highest = BITRATES[codec]
    level = (highest - kbps) / (highest - lowest)  # libsndfile's scale from the highest bitrate, 0, to the lowest, 1
    if codec == "opus":
        return fitted(_through(waveform, SAMPLE_RATE, "OGG", "OPUS", compression_level=level), len(waveform))
    options = {"compression_level": min(level, 0.9999), "bitrate_mode": "CONSTANT"}  # LAME refuses 1
    decoded = _through(waveform, SAMPLE_RATE, "MP3", "MPEG_LAYER_III", **options)
    untagged = len(decoded) > len(waveform)  # nothing tells the decoder where the sound begins and ends
    return fitted(decoded[MP3_DELAY if untagged else 0 :], len(waveform))


def fitted(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """Return the waveform cut, or filled up with zeros, to a length.

    Args:
        waveform: shape ``(n,)``
        n_samples: the length

    Returns:
        shape ``(n_samples,)``
    """
    return np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))


def _through(waveform: np.ndarray, rate: int, container: str, subtype: str, **options: object) -> np.ndarray:
    """Return the waveform written to and read from a file in memory."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=container, subtype=subtype, **options)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]
