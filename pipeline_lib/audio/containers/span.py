"""Bytes of an open file, looked at by position, and given to a decoder as a file of its own."""

import io
import os
from typing import NamedTuple

_CACHED = 1 << 18  # bytes read at once where single fields are looked at
_INFLATED = 1000  # times: an estimate of the length from bytes exceeds any count of frames
MOST_CHUNKS, MOST_SOUNDS = 10_000, 1_000  # in a file
_ID3V1 = 256  # bytes before the end in which a decoder looks for a tag


class Defect(Exception):  # noqa: N818, a finding about a file, turned into BadAudio with the file's name
    """Why a file is not taken.

    Attributes:
        reason: a reason of ``BadAudio``
        message: what goes behind the file's name in a sentence
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


def check_number(n: int, name: str, most: int) -> None:
    """Refuse a number of parts that no recording has, and over which a walk would take for ever.

    Raises:
        Flaw: there are more
    """
    if n > most:
        raise Defect("damaged", f"has more than {most} {name}, expected fewer (no recording?)")


class Span(io.RawIOBase):
    """Bytes ``[begin, end)`` of an open file, read by position: several spans of one file do not disturb one another.

    As a file, it begins with ``header`` where one is given, and pretends to be a thousand times as long where it is
    ``inflated``: libmpg123 cuts a stream that declares no length off at an estimate from the number of bytes.
    """

    def __init__(self, fd: int, begin: int, end: int, header: bytes = b"", inflated: bool = False) -> None:
        self.fd, self.begin, self.end, self.header = fd, begin, end, header
        self.size = end - begin
        self.length = (len(header) + self.size) * (_INFLATED if inflated else 1)
        self.place = 0
        self._cached, self._cache = 0, b""

    @property
    def is_inflated(self) -> bool:
        """Whether it pretends to be longer than it is."""
        return self.length > len(self.header) + self.size

    @property
    def is_whole_file(self) -> bool:
        """Whether a decoder can be given the file itself."""
        plain = self.begin == 0 and not self.header and self.length == self.size
        return plain and self.end == os.fstat(self.fd).st_size

    def at(self, place: int, n_bytes: int) -> bytes:
        """Return up to ``n_bytes`` from ``place`` on, fewer at the end; the header does not count."""
        n_bytes = max(0, min(n_bytes, self.size - place))
        if n_bytes > _CACHED // 4:
            return self._read_at(place, n_bytes)
        offset = place - self._cached
        if offset < 0 or offset + n_bytes > len(self._cache):
            self._cached, offset = place, 0
            self._cache = self._read_at(place, min(_CACHED, self.size - place))
        return self._cache[offset : offset + n_bytes]

    def part(self, begin: int, end: int, header: bytes = b"", inflated: bool = False) -> "Span":
        """Return bytes ``[begin, end)`` of these as a span of their own."""
        return Span(self.fd, self.begin + begin, self.begin + min(end, self.size), header, inflated)

    def readable(self) -> bool:
        """Return whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Return whether it can be entered anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position and return it."""
        self.place = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.length}[whence] + offset
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is something."""
        data = self._bytes(len(buffer))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def _bytes(self, n_bytes: int) -> bytes:
        place = self.place - len(self.header)
        if place < 0:
            head = self.header[self.place : self.place + n_bytes]
            return head + self._read_at(0, min(self.size, n_bytes - len(head)))
        if place < self.size:
            return self._read_at(place, min(n_bytes, self.size - place))
        return bytes(max(0, min(n_bytes, self.length - self.place))) if self.place >= self.length - _ID3V1 else b""

    def _read_at(self, place: int, n_bytes: int) -> bytes:
        parts, done = [], 0
        while done < n_bytes:
            part = os.pread(self.fd, n_bytes - done, self.begin + place + done)
            if not part:
                break
            parts.append(part)
            done += len(part)
        return b"".join(parts)


class Sound(NamedTuple):
    """A stretch of sound that a decoder reads as one.

    Attributes:
        span: what the decoder is given
        n_frames: samples of each channel that the container declares, or that were counted; None where the decoder
            reads the declaration itself
        gain: by which the decoder's samples are multiplied
    """

    span: Span
    n_frames: int | None = None
    gain: float = 1.0


def behind_id3(head: bytes) -> int:
    """Return how long the ID3 tag is with which 10 bytes begin, its footer included, 0 where there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    footer = 10 if head[5] & 0x10 else 0
    return 10 + footer + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
