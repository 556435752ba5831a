"""Small recordings of every container, and what is done to them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio

CONTAINERS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
CONTAINERS |= {"mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16")}


def tone(seconds: float = 1.0, rate: int = SAMPLE_RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(1).standard_normal((round(seconds * rate), channels))
    return samples.astype(np.float32)


def written(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    kind, subtype = CONTAINERS[path.suffix[1:]]
    soundfile.write(path, samples, rate, format=kind, subtype=subtype)
    return path


def cut(path: Path, n_bytes: int) -> Path:
    path.write_bytes(path.read_bytes()[:n_bytes])
    return path


def reason(path: Path, **options) -> str:
    with pytest.raises(BadAudio, match=path.name) as caught:
        decoding.check(path, **options)
    return caught.value.reason


def changed(path: Path, at: int, new: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path
