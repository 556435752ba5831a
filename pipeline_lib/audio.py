"""Recordings as the stages hear them: one channel, 16 kHz, float32 in [-1, 1]; a bad one is refused with its reason.

Taken is every container that libsndfile decodes (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF ...), at any rate. Channels
are averaged, rates converted by soxr's VHQ filter. Reasons of ``BadAudio``:

================  ====================================================================================================
missing           no such file, or a link to nothing
not a file        a folder, pipe, socket or device; it is never opened, so a pipe cannot block
unreadable        the system refuses to open it (permissions, a failing disk)
empty             no bytes, or a header without samples
not audio         libsndfile knows no such format
truncated         the container declares more than the file holds
damaged           the container begins well and cannot be decoded
nan               a sample is NaN or infinite
out of range      a sample is beyond +-``LIMIT``: no scaling of audio reaches it (integers written as float?)
silent            no sample beyond +-``SILENCE``
too short         shorter than the wanted duration, or begins behind the end
too long          longer than the wanted duration
================  ====================================================================================================
"""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from pipeline_lib.errors import InputError

SAMPLE_RATE = 16_000  # Hz
SILENCE = 1e-4  # about three steps of 16 bit, -80 dB of full scale: dither and codec noise are not speech
LIMIT = 8.0  # float recordings overshoot 1 a little and are clipped; beyond 8 they are not on audio's scale
MARGIN_S = 0.05  # read around a chunk; VHQ's filter is shorter than 20 ms at every usual rate
_BLOCK = 1 << 18  # frames read at once: many channels are averaged before they fill the memory
_UNKNOWN = 1 << 60  # libsndfile's frame count for streams that do not say
_MAGICS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"ID3", b"riff", b"caff")


class BadAudio(InputError):
    """A recording that cannot be used; ``reason`` is one of the module's short words."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True)
class Probe:
    """What a recording's header says."""

    duration_s: float
    sample_rate_hz: int
    channels: int


def probe(path: Path) -> Probe:
    """Return duration, rate and channels, from the header where it says.

    Raises:
        BadAudio: the file cannot be opened as audio, or is cut short by its container's own account
    """
    with _opened(path) as file:
        frames = file.frames if file.frames < _UNKNOWN else sum(len(block) for block in _blocks(path, file, None))
        return Probe(frames / file.samplerate, file.samplerate, file.channels)


def decode(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> np.ndarray:
    """Return a recording, or a chunk of it, as one channel at 16 kHz.

    Only the chunk and 50 ms on either side are read, so that the chunk equals the same stretch of the whole recording.
    MP3 cannot be entered in the middle and is decoded up to the chunk's end.

    Args:
        path: the recording
        start_s: where the chunk begins, rounded to a sample at 16 kHz
        duration_s: length of the chunk; None and whatever reaches past the end give what there is

    Returns:
        float32 in [-1, 1], shape ``(n_samples,)``

    Raises:
        BadAudio: see the module; silence and length are not looked at
    """
    if start_s < 0 or (duration_s is not None and duration_s <= 0):
        raise ValueError(f"start_s is {start_s} and duration_s {duration_s}, wanted >= 0 and > 0")
    first = round(start_s * SAMPLE_RATE)
    last = None if duration_s is None else first + round(duration_s * SAMPLE_RATE)
    with _opened(path) as file:
        return _chunk(path, file, first, last)


def check(path: Path, min_s: float = 0.0, max_s: float | None = None, allow_silent: bool = False) -> np.ndarray:
    """Return the whole recording as ``decode`` does, after every test of this module.

    Args:
        path: the recording
        min_s: shortest duration that is taken
        max_s: longest duration that is taken, None for any; a longer one is refused before it is decoded
        allow_silent: whether a recording without sound is taken

    Returns:
        float32 in [-1, 1], shape ``(n_samples,)``

    Raises:
        BadAudio: see the module
    """
    with _opened(path) as file:
        declared_s = file.frames / file.samplerate
        if max_s is not None and file.frames < _UNKNOWN and declared_s > max_s:
            raise BadAudio("too long", f"{path} lasts {declared_s:.2f} s, wanted at most {max_s:g} s")
        samples = _chunk(path, file, 0, None)
    seconds = len(samples) / SAMPLE_RATE
    if max_s is not None and seconds > max_s:
        raise BadAudio("too long", f"{path} lasts {seconds:.2f} s, wanted at most {max_s:g} s")
    if seconds < min_s:
        raise BadAudio("too short", f"{path} lasts {seconds:.3f} s, wanted at least {min_s:g} s")
    peak = float(np.abs(samples).max())
    if peak < SILENCE and not allow_silent:
        raise BadAudio(
            "silent", f"{path} has no sample beyond {peak:.1e}, wanted {SILENCE:g} (an empty channel, or a muted take?)"
        )
    return samples


def resolve_under(root: Path, relative: str) -> Path:
    """Return ``root / relative`` with links followed, for paths that come from tables.

    Raises:
        InputError: the path is empty or absolute, climbs with ``..``, or a link in it leaves the root
    """
    parts = PurePosixPath(relative)
    if not relative or "\0" in relative or parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{relative!r} is no path below {root}; wanted a relative one without '..'")
    try:
        inside = root.resolve()
        found = (inside / parts).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise InputError(f"{root / parts} cannot be followed: {error}") from None
    if not found.is_relative_to(inside):
        raise InputError(f"{root / parts} leads to {found}, outside {inside} (a symbolic link?)")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
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
        with path.open("rb") as raw:
            head = raw.read(4)
            if not head:
                raise BadAudio("empty", f"{path} has no bytes (an interrupted copy?)")
            _check_container(path, raw, head)
            raw.seek(0)
            with _as_audio(path, raw, head) as file:
                yield file
    except OSError as error:
        raise BadAudio("unreadable", f"{path} cannot be opened: {error.strerror}") from None


def _as_audio(path: Path, raw: BinaryIO, head: bytes) -> soundfile.SoundFile:
    try:
        file = soundfile.SoundFile(raw)
    except (RuntimeError, TypeError) as error:  # TypeError: a name ending in .raw says nothing of its format
        if head.startswith(_MAGICS) or (head[0] == 0xFF and head[1:2] >= b"\xe0"):  # MP3 frames begin with 11 ones
            raise BadAudio("damaged", f"{path} begins like audio and cannot be opened: {_said(error)}") from None
        raise BadAudio(
            "not audio", f"{path} begins with {head!r}, no format that libsndfile knows (renamed, or a web page?)"
        ) from None
    if file.frames == 0:
        file.close()
        raise BadAudio("empty", f"{path} has a header and no samples (an interrupted recording?)")
    return file


def _chunk(path: Path, file: soundfile.SoundFile, first: int, last: int | None) -> np.ndarray:
    """Return samples ``[first, last)`` counted at 16 kHz."""
    rate = file.samplerate
    divisor = gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // divisor, rate // divisor
    margin = 0 if up == down else int(MARGIN_S * rate)
    # a whole number of output samples lies before the first frame read: the filter's phase is the whole recording's
    begin = max(0, first * down // up - margin) // down * down if first else 0
    end = None if last is None else -(-last * down // up) + margin
    known = file.frames < _UNKNOWN
    if known and first * down >= file.frames * up:
        raise BadAudio(
            "too short", f"{path} lasts {file.frames / rate:.3f} s, the chunk begins at {first / SAMPLE_RATE:.3f} s"
        )
    if known and file.format != "MP3":
        samples = np.concatenate(list(_blocks(path, file, end, begin)))
    else:  # libsndfile's seeks in MP3 are wrong by up to the signal itself: decoded from the start
        samples = np.concatenate(list(_blocks(path, file, end)))[begin:]
    if up != down:
        samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="VHQ")
    skipped = begin * up // down
    samples = samples[first - skipped : None if last is None else last - skipped]
    return np.clip(samples, -1.0, 1.0)


def _blocks(path: Path, file: soundfile.SoundFile, end: int | None, begin: int = 0) -> Iterator[np.ndarray]:
    """Yield frames ``[begin, end)``, channels averaged, and test what was read."""
    stop = file.frames if end is None else min(end, file.frames)
    position = begin
    why = "it ends there"
    try:
        if begin:
            file.seek(begin)
        while position < stop:
            block = file.read(min(_BLOCK, stop - position), dtype="float32", always_2d=True)
            if not len(block):
                break
            position += len(block)
            yield _averaged(path, block)
    except RuntimeError as error:
        why = _said(error)
    if position < stop and (file.frames < _UNKNOWN or position == begin or why != "it ends there"):
        wanted = f"{stop / file.samplerate:.3f} s" if file.frames < _UNKNOWN else "more"
        raise BadAudio("truncated", f"{path} decodes to {position / file.samplerate:.3f} s, wanted {wanted}: {why}")


def _averaged(path: Path, block: np.ndarray) -> np.ndarray:
    if not np.isfinite(block).all():
        raise BadAudio("nan", f"{path} has samples that are NaN or infinite, wanted finite ones (a failed conversion?)")
    peak = float(np.abs(block).max())
    if peak > LIMIT:
        raise BadAudio(
            "out of range", f"{path} has samples up to {peak:g}, wanted -1 to 1 (integers written as float?)"
        )
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def _check_container(path: Path, raw: BinaryIO, head: bytes) -> None:
    """Compare declared with present bytes where libsndfile silently takes what there is: WAV, AIFF and Ogg."""
    size = os.fstat(raw.fileno()).st_size
    if head == b"RIFF":
        declared = _wav_end(raw, size)
    elif head == b"FORM":
        declared = struct.unpack(">I", raw.read(4).ljust(4, b"\0"))[0] + 8
    elif head == b"OggS":
        declared = _ogg_end(raw, size)
    else:
        return
    if declared is None or declared > size:
        lacks = "its last page is not the stream's end" if declared is None else f"declares {declared} bytes"
        raise BadAudio("truncated", f"{path} holds {size} bytes, {lacks} (an interrupted copy?)")


def _wav_end(raw: BinaryIO, size: int) -> int:
    """Return where the data chunk of a WAV file says that it ends; 0 where it does not say (written to a pipe)."""
    at = 12
    while at + 8 <= size:
        raw.seek(at)
        name, length = struct.unpack("<4sI", raw.read(8))
        if name == b"data":
            return 0 if length >= 0xFFFFFF00 or length in (0x7FFFFFFF, 0x7FFFF000) else at + 8 + length
        at += 8 + length + length % 2
    return max(at, size + 1)  # no data chunk within the file


def _ogg_end(raw: BinaryIO, size: int) -> int | None:
    """Return where the last page of an Ogg file ends, None where that page does not end the stream."""
    tail = min(size, 2 * 65_307)  # the largest page has 65,307 bytes
    raw.seek(size - tail)
    data = raw.read(tail)
    at = data.rfind(b"OggS")
    if at < 0 or at + 27 > len(data):
        return None
    flags, segments = data[at + 5], data[at + 26]
    end = size - tail + at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
    if end > size or at + 27 + segments > len(data):
        return size + 1 if end <= size else end
    return end if flags & 4 else None


def _kind(mode: int) -> str:
    tests = {"a folder": stat.S_ISDIR, "a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((name for name, test in tests.items() if test(mode)), "a device")


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
