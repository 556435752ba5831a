"""What is wrong with a file, and how its bytes are looked at."""

from typing import BinaryIO, NamedTuple


class Flaw(NamedTuple):
    """Why a file is not whole.

    Attributes:
        reason: "truncated" or "damaged"
        said: what goes behind the file's name in a sentence
    """

    reason: str
    said: str


def bytes_at(raw: BinaryIO, place: int, n_bytes: int = -1) -> bytes:
    """Return the bytes from ``place`` on, all of them unless a number is given."""
    raw.seek(place)
    return raw.read(n_bytes)


def behind_id3(head: bytes) -> int:
    """Return how long the ID3 tag is with which a file's first 10 bytes begin, 0 where there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))
