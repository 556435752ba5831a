"""A recording opened and read in blocks, every block and, where it is read whole, the whole of it tested."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from pipeline_lib.containers import flac, inspect
from pipeline_lib.containers.flaw import Flaw
from pipeline_lib.errors import InputError

LIMIT = 8.0  # float recordings overshoot 1 a little and are clipped; beyond 8 they are not on audio's scale
FULL_SCALE = 32_767 / 32_768  # what 16 bit reach
LONGEST_S = 4 * 3600.0  # in one piece: a day of 16 kHz fills 5 GB
RATES = (1_000, 768_000)  # Hz
MOST_CHANNELS = 64
_BLOCK = 1 << 18  # samples read at once: many channels are averaged before they fill the memory
_UNKNOWN = 1 << 60  # libsndfile's frame count for streams that do not say
_MAGICS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3", b"riff", b"caff")


class BadAudio(InputError):
    """A recording that cannot be used; ``reason`` is one of the module's short words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


@contextmanager
def opened(path: Path, longest_s: float = LONGEST_S) -> Iterator["Reading"]:
    """Open a recording after the tests that its bytes allow without decoding."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise BadAudio("missing", f"{path} does not exist") from None
    except OSError as error:
        raise BadAudio("unreadable", f"{path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise BadAudio("not a file", f"{path} is {_kind(mode)}, wanted a recording")
    try:
        with path.open("rb", buffering=0) as raw:
            head = raw.read(4)
            if not head:
                raise BadAudio("empty", f"{path} has no bytes (an interrupted copy?)")
            _refuse(path, inspect.header(raw))
            with _as_audio(path, raw, head) as file:
                yield Reading(path, raw, file, longest_s)
    except OSError as error:
        raise BadAudio("unreadable", f"{path} cannot be opened: {error.strerror}") from None


def _as_audio(path: Path, raw: BinaryIO, head: bytes) -> soundfile.SoundFile:
    raw.seek(0)
    try:
        file = _Stream(raw.fileno(), closefd=False)
    except RuntimeError as error:
        if head.startswith(_MAGICS) or (head[0] == 0xFF and head[1:2] >= b"\xe0"):  # MP3 frames begin with 11 ones
            raise BadAudio("damaged", f"{path} begins like audio and cannot be opened: {_said(error)}") from None
        raise BadAudio(
            "not audio", f"{path} begins with {head!r}, no format that libsndfile knows (renamed, or a web page?)"
        ) from None
    fault = None
    if file.frames == 0:
        fault = BadAudio("empty", f"{path} has a header and no samples (an interrupted recording?)")
    elif not RATES[0] <= file.samplerate <= RATES[1] or file.channels > MOST_CHANNELS:
        said = f"{file.samplerate} Hz and {file.channels} channels, wanted {RATES[0]} to {RATES[1]} Hz"
        fault = BadAudio("implausible", f"{path} declares {said} and at most {MOST_CHANNELS} (a damaged header?)")
    if fault:
        file.close()
        raise fault
    return file


class _Stream(soundfile.SoundFile):
    """A file read from front to back; soundfile seeks after each read otherwise, which is inexact in MP3."""

    def seekable(self) -> bool:
        return False


class Reading:
    """An open recording, read once.

    No more than ``longest_s`` is decoded, whatever the file declares or leaves unsaid.

    Attributes:
        read: frames decoded so far
        clipped: samples of them at full scale, of every channel
    """

    def __init__(self, path: Path, raw: BinaryIO, file: soundfile.SoundFile, longest_s: float) -> None:
        self.path, self.raw, self.file, self.longest_s = path, raw, file, longest_s
        self.said_length = file.frames < _UNKNOWN
        self.read, self.clipped = 0, 0

    def blocks(self, begin: int, end: int | None) -> Iterator[np.ndarray]:
        """Yield frames ``[begin, end)``, channels averaged, and test what was read; a whole file is verified whole."""
        stop = self.file.frames if end is None else min(end, self.file.frames)
        if self.said_length:
            self._refuse_long(stop - begin)
        whole = begin == 0 and end is None
        digest = _Md5(self.raw, self.file) if whole else None
        if whole:
            self.verify()
        for block in self._decoded(begin, stop, digest):
            yield self._averaged(block)
        if digest and not digest.fits():
            raise BadAudio("damaged", f"{self.path} does not decode to the sound whose MD5 it declares")
        if whole and self.said_length and len(self.file.read(1, dtype="float32")):
            declared_s = stop / self.file.samplerate
            raise BadAudio("damaged", f"{self.path} declares {declared_s:.3f} s and holds more (a damaged header?)")

    def verify(self) -> None:
        """Refuse a file whose own checksums, counts or order are broken anywhere; nothing is decoded."""
        place = os.lseek(self.raw.fileno(), 0, os.SEEK_CUR)
        _refuse(self.path, inspect.body(self.raw))
        os.lseek(self.raw.fileno(), place, os.SEEK_SET)

    def _decoded(self, begin: int, stop: int, digest: "_Md5 | None") -> Iterator[np.ndarray]:
        """Yield frames as they are in the file, float32, shape ``(n_frames, channels)``."""
        at_once = max(1, _BLOCK // self.file.channels)
        position, why = 0, "it ends there"
        try:
            if begin and self.said_length and self.file.format != "MP3":
                position = self.file.seek(begin)  # in MP3 libsndfile's seeks are wrong by up to the signal itself
            while position < stop:
                n = min(at_once, stop - position)
                block = digest.read(n) if digest else self.file.read(n, dtype="float32", always_2d=True)
                if not len(block):
                    break
                block, position = block[max(0, begin - position) :], position + len(block)
                self._refuse_long(position - begin)
                yield block
        except RuntimeError as error:
            why = _said(error)
        if position < stop and (self.said_length or position == begin or why != "it ends there"):
            decoded_s, wanted = position / self.file.samplerate, "more"
            if self.said_length:
                wanted = f"{stop / self.file.samplerate:.3f} s"
            raise BadAudio("truncated", f"{self.path} decodes to {decoded_s:.3f} s, wanted {wanted}: {why}")

    def _refuse_long(self, n_frames: int) -> None:
        seconds = n_frames / self.file.samplerate
        if seconds > self.longest_s:
            raise BadAudio("too long", f"{self.path} lasts {seconds:.2f} s, wanted at most {self.longest_s:g} s")

    def _averaged(self, block: np.ndarray) -> np.ndarray:
        if not np.isfinite(block).all():
            raise BadAudio(
                "nan", f"{self.path} has samples that are NaN or infinite, wanted finite ones (a failed conversion?)"
            )
        levels = np.abs(block)
        if block.size and levels.max() > LIMIT:
            raise BadAudio(
                "out of range",
                f"{self.path} has samples up to {levels.max():g}, wanted -1 to 1 (integers written as float?)",
            )
        self.read += len(block)
        self.clipped += int(np.count_nonzero(levels >= FULL_SCALE))
        return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


class _Md5:
    """The MD5 of a FLAC's samples, little-endian and of the width that it declares, gathered while they are read."""

    WIDTHS = {"PCM_S8": ("int16", 1), "PCM_16": ("int16", 2), "PCM_24": ("int32", 3)}

    def __init__(self, raw: BinaryIO, file: soundfile.SoundFile) -> None:
        self.file = file
        place = os.lseek(raw.fileno(), 0, os.SEEK_CUR)
        self.wanted = flac.md5(raw) if file.subtype in self.WIDTHS else None
        os.lseek(raw.fileno(), place, os.SEEK_SET)
        self.found = hashlib.md5(usedforsecurity=False)

    def read(self, n_frames: int) -> np.ndarray:
        if self.wanted is None:
            return self.file.read(n_frames, dtype="float32", always_2d=True)
        kind, width = self.WIDTHS[self.file.subtype]
        block = self.file.read(n_frames, dtype=kind, always_2d=True)  # in the upper bytes of the integer
        size = block.dtype.itemsize
        self.found.update(block.astype(f"<i{size}").view(np.uint8).reshape(-1, size)[:, size - width :].tobytes())
        return block.astype(np.float32) / np.float32(1 << 8 * size - 1)  # exact: at most 24 bits

    def fits(self) -> bool:
        return self.wanted is None or self.found.digest() == self.wanted


def _refuse(path: Path, flaw: Flaw | None) -> None:
    if flaw:
        raise BadAudio(flaw.reason, f"{path} {flaw.said}")


def _kind(mode: int) -> str:
    tests = {"a folder": stat.S_ISDIR, "a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((name for name, test in tests.items() if test(mode)), "a device")


def _said(error: Exception) -> str:
    """Return libsndfile's words without the file's number, which differs from run to run."""
    return " ".join(getattr(error, "error_string", str(error)).split()) or type(error).__name__
