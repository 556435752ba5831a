"""Containers built byte by byte, in the forms that recorders and broken copies leave behind."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

from pipeline_lib.audio import decoding

RATE = 16_000
PCM = np.round(9_000 * np.sin(np.cumsum(0.05 + 0.04 * np.sin(np.arange(RATE) / 900)))).astype("<i2")
SOUND = PCM.astype(np.float32) / 32_768
LITTLE, BIG = PCM.tobytes(), PCM.astype(">i2").tobytes()
ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)
ID3V1 = b"TAG" + bytes(125)


def encoded(samples: np.ndarray, kind: str, subtype: str | None = None, rate: int = RATE, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype, **options)
    return file.getvalue()


def plainly(data: bytes) -> np.ndarray:
    """Return what libsndfile reads of one stretch of sound, clipped."""
    return np.clip(soundfile.read(io.BytesIO(data), dtype="float32")[0], -1, 1)


def wav(
    data: bytes = LITTLE,
    length: int | None = None,
    riff: int | None = None,
    fmt: bytes | None = None,
    before: bytes = b"",
    behind: bytes = b"",
    order: str = "<",
) -> bytes:
    """Return a WAV; ``length`` and ``riff`` are declared instead of its true lengths."""
    form = fmt or pcm(16, 2, order=order)
    body = b"WAVEfmt " + struct.pack(f"{order}I", len(form)) + form + before
    body += b"data" + struct.pack(f"{order}I", len(data) if length is None else length) + data + behind
    return (b"RIFF" if order == "<" else b"RIFX") + struct.pack(f"{order}I", len(body) if riff is None else riff) + body


def pcm(bits: int, width: int, channels: int = 1, tag: int = 1, order: str = "<", rate: int = RATE) -> bytes:
    return struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * channels * width, channels * width, bits)


def extensible(bits: int, width: int, channels: int, mask: int, tag: int = 1) -> bytes:
    rest = struct.pack("<HHIH14s", 22, bits, mask, tag, bytes.fromhex("000000001000800000aa00389b71"))
    return pcm(8 * width, width, channels, 0xFFFE) + rest


def aiff(data: bytes, frames: int, ssnd: int, form: int | None = None, hertz: float = RATE) -> bytes:
    exponent = int(np.floor(np.log2(hertz)))
    rate = struct.pack(">HQ", 16_383 + exponent, round(hertz * 2.0 ** (63 - exponent)))
    body = b"AIFFCOMM" + struct.pack(">IHIH", 18, 1, frames, 16) + rate
    body += b"SSND" + struct.pack(">III", ssnd, 0, 0) + data
    return b"FORM" + struct.pack(">I", len(body) if form is None else form) + body


def au(data: bytes, length: int) -> bytes:
    return b".snd" + struct.pack(">5I", 24, length, 3, RATE, 1) + data


def patched(data: bytes, behind: bytes, offset: int, new: bytes) -> bytes:
    """Return the data with bytes replaced, counted from the end of a mark."""
    at = data.index(behind) + len(behind) + offset
    return data[:at] + new + data[at + len(new) :]


def at(folder: Path, data: bytes) -> Path:
    path = folder / "recording"
    path.write_bytes(data)
    return path


def equals(path: Path, sound: np.ndarray, tolerance: float = 0.0) -> None:
    """Hold what is probed, decoded whole and decoded in chunks against the sound; 16 kHz, one channel."""
    samples = decoding.check(path)
    assert samples.shape == sound.shape
    np.testing.assert_allclose(samples, sound, rtol=0, atol=tolerance)
    assert decoding.probe(path).duration_s == len(sound) / RATE
    for share in (0.1, 0.5, 0.8):
        first, n = round(share * len(sound)), 1_600
        chunk = decoding.decode(path, first / RATE, n / RATE)
        np.testing.assert_allclose(chunk, samples[first : first + n], rtol=0, atol=1e-7)  # a unit in the last place
