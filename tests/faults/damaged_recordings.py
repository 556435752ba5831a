"""62 kinds of recordings with something wrong, or odd and in order: how each is made, and what is to be said of it."""

import io
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
SPEECH = np.round(
    32_767
    * 0.3
    * np.sin(2 * np.pi * np.cumsum(200 + 50 * np.sin(np.arange(RATE) / 2_000)) / RATE)
    * np.linspace(0.2, 1, RATE)
).astype(np.int16)
FLOAT = SPEECH.astype(np.float32) / 32_768


@dataclass(frozen=True)
class Kind:
    """A kind of recording.

    Attributes:
        name: what is wrong
        suffix: of the file
        make: writes it at a path
        reasons: one of which refuses it; empty where it is to be taken
        taken_by_decode: whether what decodes without judging length and sound takes it all the same
        sound: what decoding must give, None for anything finite
        tolerance: largest absolute difference
    """

    name: str
    suffix: str
    make: Callable[[Path], None]
    reasons: frozenset[str] = frozenset()
    taken_by_decode: bool = False
    sound: np.ndarray | None = None
    tolerance: float = 1e-4


def encoded(kind: str, subtype: str | None = None, samples: np.ndarray = SPEECH, rate: int = RATE) -> bytes:
    """Return the samples in a container."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav(data: bytes = SPEECH.tobytes(), tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16) -> bytearray:
    """Return a WAV file of 44 bytes of header, whatever it says."""
    align = channels * bits // 8 & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return bytearray(b"RIFF" + struct.pack("<I", len(body)) + body)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """Return the data with bytes replaced."""
    return data[:at] + new + data[at + len(new) :]


def bytes_of(content: bytes | Callable[[], bytes]) -> Callable[[Path], None]:
    """Return what writes these bytes."""
    return lambda path: path.write_bytes(content() if callable(content) else content) and None


def a_socket(path: Path) -> None:
    """Bind a socket at the path; relative, since such names are short."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def an_hour(path: Path) -> None:
    """Write a WAV of ten hours as a hole in the disk."""
    size = 36_000 * RATE * 2
    head = wav(b"")
    path.write_bytes(patched(patched(bytes(head), 4, struct.pack("<I", 36 + size)), 40, struct.pack("<I", size)))
    os.truncate(path, 44 + size)


def silent_hours() -> bytes:
    """Return a FLAC of half an hour of silence in some kilobytes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC", subtype="PCM_16") as sound:
        for _ in range(30):
            sound.write(np.zeros(60 * RATE, np.int16))
    return file.getvalue()


def a_zip() -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", bytes(wav()))
    return file.getvalue()


def without_a_page(data: bytes) -> bytes:
    """Return an Ogg stream whose third page is gone."""
    starts = [i for i in range(len(data)) if data.startswith(b"OggS", i)]
    return data[: starts[2]] + data[starts[3] :] if len(starts) > 3 else data[: starts[2]]


def middle_byte(data: bytes) -> bytes:
    """Return the data with one byte in the middle inverted."""
    return patched(data, len(data) // 2, bytes([data[len(data) // 2] ^ 0xFF]))


LONG = np.tile(SPEECH, 6)
FLAC = encoded("FLAC", "PCM_16")
OGG, OPUS = encoded("OGG", "VORBIS", LONG), encoded("OGG", "OPUS", LONG)
MP3 = encoded("MP3", "MPEG_LAYER_III", LONG)
AIFF = encoded("AIFF", "PCM_16")
OPPOSITE = np.stack([SPEECH, -SPEECH], axis=1)
CUT, WRONG = (
    frozenset({"truncated", "damaged"}),
    frozenset({"truncated", "damaged", "implausible", "not audio", "not supported", "empty"}),
)


def only(*reasons: str) -> frozenset[str]:
    """Return the reasons."""
    return frozenset(reasons)


def kinds() -> list[Kind]:
    """Return all kinds."""
    with_nan = FLOAT.copy()
    with_nan[777] = np.nan
    with_infinity = FLOAT.copy()
    with_infinity[777] = np.inf
    listed = wav()
    listed = listed[:36] + b"LIST" + struct.pack("<I", 4) + b"INFO" + listed[36:]
    return [
        Kind("nothing there", ".wav", lambda path: None, only("missing")),
        Kind("no bytes", ".wav", bytes_of(b""), only("empty")),
        Kind("a folder", ".wav", lambda path: path.mkdir(), only("not a file")),
        Kind("a pipe", ".wav", lambda path: os.mkfifo(path), only("not a file")),
        Kind("a socket", ".wav", a_socket, only("not a file")),
        Kind("a link to a device", ".wav", lambda path: path.symlink_to("/dev/zero"), only("not a file", "outside")),
        Kind("a link to nothing", ".wav", lambda path: path.symlink_to("nowhere.wav"), only("missing")),
        Kind(
            "a link to itself",
            ".wav",
            lambda path: path.symlink_to(path.name),
            only("unreadable", "outside", "missing"),
        ),
        Kind("a web page", ".wav", bytes_of(b"<html>404</html>" * 200), only("not audio")),
        Kind("an archive", ".wav", bytes_of(a_zip()), only("not audio")),
        Kind("a pickle", ".wav", bytes_of(pickle.dumps([1] * 1000)), only("not audio")),
        Kind("an mp4", ".wav", bytes_of(b"\0\0\0\x20ftypisom" + bytes(4000)), only("not supported")),
        Kind(
            "a pointer of Git LFS", ".wav", bytes_of(b"version https://git-lfs.github.com/spec/v1\n"), only("not audio")
        ),
        Kind(
            "noise", ".flac", bytes_of(np.random.default_rng(5).bytes(5_000)), only("not audio", "damaged", "truncated")
        ),
        Kind("zeros", ".flac", bytes_of(bytes(40_000)), only("not audio", "damaged")),
        Kind("WAV, a header alone", ".wav", bytes_of(bytes(wav(b""))), only("empty", "truncated")),
        Kind("WAV, half a header", ".wav", bytes_of(bytes(wav())[:20]), WRONG),
        Kind("WAV, a byte missing", ".wav", bytes_of(bytes(wav())[:-1]), CUT),
        Kind("WAV, half missing", ".wav", bytes_of(bytes(wav())[:16_000]), CUT),
        Kind("WAV, its length unknown", ".wav", bytes_of(patched(bytes(wav()), 40, b"\xff" * 4)), sound=FLOAT),
        Kind("WAV, zero Hz", ".wav", bytes_of(bytes(wav(rate=0))), WRONG),
        Kind("WAV, one Hz", ".wav", bytes_of(bytes(wav(rate=1))), WRONG),
        Kind("WAV, four thousand million Hz", ".wav", bytes_of(bytes(wav(rate=0xFFFFFFF0))), WRONG),
        Kind("WAV, no channel", ".wav", bytes_of(bytes(wav(channels=0))), WRONG),
        Kind("WAV, 65,535 channels", ".wav", bytes_of(bytes(wav(channels=65_535))), WRONG),
        Kind("WAV, 0 bits", ".wav", bytes_of(bytes(wav(bits=0))), WRONG),
        Kind("WAV, an unknown code", ".wav", bytes_of(bytes(wav(tag=0x9999))), WRONG),
        Kind("WAV, NaN", ".wav", bytes_of(encoded("WAV", "FLOAT", with_nan)), only("nan")),
        Kind("WAV, infinity", ".wav", bytes_of(encoded("WAV", "FLOAT", with_infinity)), only("nan")),
        Kind("WAV, integers as float", ".wav", bytes_of(encoded("WAV", "FLOAT", FLOAT * 32_768)), only("out of range")),
        Kind("WAV, silence", ".wav", bytes_of(bytes(wav(bytes(32_000)))), only("silent", "damaged"), True),
        Kind("WAV, ten milliseconds", ".wav", bytes_of(bytes(wav(SPEECH[:160].tobytes()))), only("too short"), True),
        Kind("WAV, ten hours of nothing", ".wav", an_hour, only("too long", "damaged", "silent")),
        Kind("WAV, more behind it", ".wav", bytes_of(bytes(listed) + b"junk" * 3), sound=FLOAT),
        Kind("FLAC named WAV", ".wav", bytes_of(FLAC), sound=FLOAT),
        Kind("stereo of 44.1 kHz", ".wav", bytes_of(encoded("WAV", "PCM_24", np.zeros((44_100, 2)) + 0.25, 44_100))),
        Kind("A-law", ".wav", bytes_of(encoded("WAV", "ALAW")), sound=FLOAT, tolerance=0.02),
        Kind("FLAC, half missing", ".flac", bytes_of(FLAC[: len(FLAC) // 2]), CUT),
        Kind("FLAC, a byte changed", ".flac", bytes_of(middle_byte(FLAC)), CUT),
        Kind("FLAC, another rate declared", ".flac", bytes_of(patched(FLAC, 18, b"\x01\xf4\x00")), WRONG),
        Kind("FLAC, half an hour in kilobytes", ".flac", silent_maker, only("too long"), True),
        Kind("Vorbis, half missing", ".ogg", bytes_of(OGG[: len(OGG) // 2]), CUT),
        Kind("Vorbis, a page missing", ".ogg", bytes_of(without_a_page(OGG)), CUT),
        Kind("Vorbis, a byte changed", ".ogg", bytes_of(middle_byte(OGG)), CUT),
        Kind("Opus, a byte changed", ".opus", bytes_of(middle_byte(OPUS)), CUT),
        Kind("MP3, half missing", ".mp3", bytes_of(MP3[: len(MP3) // 2]), CUT),
        Kind("MP3, a byte changed", ".mp3", bytes_of(middle_byte(MP3)), CUT),
        Kind("AIFF, a byte missing", ".aiff", bytes_of(AIFF[:-1]), CUT),
        Kind("MP3 without a tag, half missing", ".mp3", bytes_of(MP3[1_000 : len(MP3) // 2]), CUT),
        Kind("Vorbis, two streams, the second cut", ".ogg", bytes_of((OGG + OGG)[:-300]), CUT),
        Kind(
            "Opus, a stream without its end before another", ".opus", bytes_of(OPUS[: OPUS.rindex(b"OggS")] + OPUS), CUT
        ),
        Kind("FLAC, two streams", ".flac", bytes_of(FLAC + FLAC), only("not supported")),
        Kind("an 8SVX", ".iff", bytes_of(encoded("SVX")), only("not supported")),
        *(
            Kind(f"{name}, half missing", ".wav", bytes_of(data[: len(data) // 2]), CUT)
            for name, data in ((name, encoded(name)) for name in ("RF64", "AU", "W64", "CAF", "NIST"))
        ),
        Kind("AU, its length unknown", ".au", bytes_of(patched(encoded("AU"), 8, b"\xff" * 4)), sound=FLOAT),
        Kind("WAV, from arecord's pipe", ".wav", bytes_of(patched(bytes(wav()), 40, b"\0\0\0\x80")), sound=FLOAT),
        Kind("WAV, zeros behind", ".wav", bytes_of(bytes(wav()) + b"\0\0"), sound=FLOAT),
        Kind("stereo in opposite phase", ".wav", bytes_of(encoded("WAV", "PCM_16", OPPOSITE)), sound=FLOAT),
    ]


def silent_maker(path: Path) -> None:
    """Write half an hour of silence."""
    path.write_bytes(silent_hours())
