"""FLAC: the rate in header and first frame, and the MD5 of the sound."""

import struct
from typing import BinaryIO

from pipeline_lib.containers.flaw import Flaw, behind_id3, bytes_at

_RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)


def start(raw: BinaryIO) -> int | None:
    """Return where ``fLaC`` stands, at the beginning or behind an ID3 tag; None for other files."""
    place = behind_id3(bytes_at(raw, 0, 10))
    return place if bytes_at(raw, place, 4) == b"fLaC" else None


def md5(raw: BinaryIO) -> bytes | None:
    """Return the MD5 of the sound that a FLAC declares; None for other files and where its encoder left it out."""
    place = start(raw)
    said = b"" if place is None else bytes_at(raw, place + 26, 16)
    return said if len(said) == 16 and any(said) else None


def flac(raw: BinaryIO, place: int) -> Flaw | None:
    """Hold the header's rate against the first frame's; the rate is in no checksum."""
    place += 4
    declared = int.from_bytes(bytes_at(raw, place + 14, 3), "big") >> 4
    last = False
    while not last:
        kind, length = struct.unpack(">B3s", bytes_at(raw, place, 4))
        last = kind >= 128
        place += 4 + int.from_bytes(length, "big")
    frame = bytes_at(raw, place, 16)
    if len(frame) < 16:
        return Flaw("truncated", "ends before its first frame (an interrupted copy?)")
    if frame[0] != 0xFF or frame[1] & 0xFE != 0xF8:
        return Flaw("damaged", "has no frame where its header ends (a damaged header?)")
    code = frame[2] & 15
    number = 1 if frame[4] < 128 else 8 - (frame[4] ^ 0xFF).bit_length()  # bytes, coded as in UTF-8
    at = 4 + number + {6: 1, 7: 2}.get(frame[2] >> 4, 0)
    two = int.from_bytes(frame[at : at + 2], "big")
    rate = _RATES[code] if code < 12 else {12: frame[at] * 1000, 13: two, 14: two * 10}.get(code)
    if rate not in (0, declared):
        return Flaw("damaged", f"declares {declared} Hz, its first frame {rate} Hz (a damaged header?)")
    return None
