"""Bytes of an open file, read by position, and given to a decoder as a file of its own."""

import io
import os
from typing import NamedTuple

_CACHED = 1 << 18  # bytes read at once where single fields are read
_INFLATED = 1000  # times: an estimate of the length from bytes exceeds any count of frames
MOST_CHUNKS, MOST_SOUNDS = 10_000, 1_000  # in a file
_ID3V1 = 256  # bytes before the end in which a decoder looks for a tag


class Defect(Exception):  # noqa: N818, a finding about a file, turned into BadAudio with the file's name
    """Why a file is not taken.

    Args:
        reason: a reason of ``BadAudio``
        message: the rest of a sentence that begins with the file's name
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


def check_number(n: int, name: str, most: int) -> None:
    """Refuse a number of parts that no recording has, and over which a walk would take for ever.

    Args:
        n: number of parts so far
        name: of the parts, plural
        most: largest number

    Raises:
        Defect: there are more
    """
    if n > most:
        raise Defect("damaged", f"has more than {most} {name}, expected fewer (no recording?)")


class Span(io.RawIOBase):
    """Bytes ``[begin, end)`` of an open file, read by position: several spans of one file do not disturb one another.

    Args:
        fd: descriptor of the open file
        begin: first byte
        end: one behind the last byte
        header: bytes with which it begins as a file, in front of its own
        inflated: whether it pretends to be a thousand times as long: libmpg123 cuts a stream that declares no length
            off at an estimate from the number of bytes
    """

    def __init__(self, fd: int, begin: int, end: int, header: bytes = b"", inflated: bool = False) -> None:
        self.fd, self.begin, self.end, self.header = fd, begin, end, header
        self.size = end - begin
        self.length = (len(header) + self.size) * (_INFLATED if inflated else 1)
        self.position = 0
        self._cached, self._cache = 0, b""

    @property
    def is_inflated(self) -> bool:
        """Whether it pretends to be longer than it is."""
        return self.length > len(self.header) + self.size

    @property
    def is_whole_file(self) -> bool:
        """Whether a decoder can be given the file itself."""
        unchanged = self.begin == 0 and not self.header and self.length == self.size
        return unchanged and self.end == os.fstat(self.fd).st_size

    def at(self, position: int, n_bytes: int) -> bytes:
        """Return bytes of the span, without its header.

        Args:
            position: first byte, counted from the span's begin
            n_bytes: number of bytes at most; fewer are returned at the end
        """
        n_bytes = max(0, min(n_bytes, self.size - position))
        if n_bytes > _CACHED // 4:
            return self._read_at(position, n_bytes)
        offset = position - self._cached
        if offset < 0 or offset + n_bytes > len(self._cache):
            self._cached, offset = position, 0
            self._cache = self._read_at(position, min(_CACHED, self.size - position))
        return self._cache[offset : offset + n_bytes]

    def part(self, begin: int, end: int, header: bytes = b"", inflated: bool = False) -> "Span":
        """Return a part of the span as a span of its own; ``header`` and ``inflated`` as the class has them.

        Args:
            begin: first byte, counted from this span's begin
            end: one behind the last byte
            header: bytes with which it begins as a file
            inflated: whether it pretends to be longer than it is
        """
        return Span(self.fd, self.begin + begin, self.begin + min(end, self.size), header, inflated)

    def readable(self) -> bool:
        """Return whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Return whether it can be entered anywhere."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position and return it, as ``io.IOBase.seek`` does.

        Args:
            offset: bytes
            whence: ``os.SEEK_SET``, ``os.SEEK_CUR`` or ``os.SEEK_END``
        """
        self.position = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.length}[whence] + offset
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as there is something."""
        data = self._bytes(len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def _bytes(self, n_bytes: int) -> bytes:
        position = self.position - len(self.header)
        if position < 0:
            head = self.header[self.position : self.position + n_bytes]
            return head + self._read_at(0, min(self.size, n_bytes - len(head)))
        if position < self.size:
            return self._read_at(position, min(n_bytes, self.size - position))
        return (
            bytes(max(0, min(n_bytes, self.length - self.position))) if self.position >= self.length - _ID3V1 else b""
        )

    def _read_at(self, position: int, n_bytes: int) -> bytes:
        parts, done = [], 0
        while done < n_bytes:
            part = os.pread(self.fd, n_bytes - done, self.begin + position + done)
            if not part:
                break
            parts.append(part)
            done += len(part)
        return b"".join(parts)


class Sound(NamedTuple):
    """A stretch of sound that a decoder reads as one.

    Attributes:
        span: the bytes that the decoder reads
        n_frames: samples of each channel that the container declares, or that were counted; None where the decoder
            reads the declaration itself
        gain: by which the decoder's samples are multiplied
    """

    span: Span
    n_frames: int | None = None
    gain: float = 1.0


def behind_id3(head: bytes) -> int:
    """Return the length in bytes of the ID3 tag that begins with these 10 bytes, footer included; 0 without a tag."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    footer = 10 if head[5] & 0x10 else 0
    return 10 + footer + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
