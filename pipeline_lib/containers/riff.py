"""WAV and AIFF: sizes of chunks, a format that is said twice, and blocks that a disk or network lost."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from pipeline_lib.containers.flaw import Flaw, bytes_at

PLAYERS_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
_BLOCK = 512  # bytes; disks, networks and sparse files lose whole ones
_UNSAID = (0, 0x7FFFFFFF, 0x7FFFF000)  # lengths in a WAV written to a pipe; so are those from 0xFFFFFF00


def wav(raw: BinaryIO, size: int) -> Flaw | None:
    """Hold ``fmt`` against itself and ``data`` against the file; a file written to a pipe says no length."""
    end, has_data = 12, False
    for name, place, length in _chunks(raw, size, "<"):
        end = place + length + length % 2
        if name == b"fmt ":
            flaw = _wav_format(bytes_at(raw, place, 26))
            if flaw:
                return flaw
        if name == b"data":
            has_data = True
            if length in _UNSAID or length >= 0xFFFFFF00:
                return None
            if place + length > size:
                return Flaw("truncated", f"holds {size} bytes, declares {place + length} (an interrupted copy?)")
    if not has_data:
        return Flaw("truncated", f"holds {size} bytes and no data chunk (an interrupted copy?)")
    return _tail(raw, end, size)


def aiff(raw: BinaryIO, size: int, head: bytes) -> Flaw | None:
    """Hold frames x channels x width against the chunk that holds the sound, and that against the file."""
    declared = struct.unpack(">I", head[4:8])[0] + 8
    if declared > size:
        return Flaw("truncated", f"holds {size} bytes, declares {declared} bytes (an interrupted copy?)")
    wanted, sound = None, None
    for name, place, length in _chunks(raw, declared, ">"):
        if name == b"COMM":
            common = bytes_at(raw, place, 22)
            channels, frames, bits, exponent, mantissa = struct.unpack(">HIHHQ", common[:18])
            shift = 16_383 + 63 - exponent
            if not 0 < shift < 64 or mantissa % (1 << shift):
                return Flaw("damaged", "declares a rate that is no whole number of hertz (a damaged header?)")
            if head[8:12] == b"AIFF" or common[18:22] in (b"NONE", b"twos", b"sowt", b"fl32", b"FL32"):
                wanted = frames * channels * -(-bits // 8)
        if name == b"SSND":
            sound = length - 8 - struct.unpack(">I", bytes_at(raw, place, 4))[0]
    if sound is None or (wanted is not None and sound != wanted):
        return Flaw("damaged", f"declares {wanted} bytes of sound and holds {sound} (a damaged header?)")
    return _tail(raw, declared, size)


def lost_blocks(data: bytes) -> Flaw | None:
    """Return where zeros fill blocks of a disk, and nothing but such blocks, amid sound.

    Digital silence begins and ends wherever it likes, at both edges of blocks once in 65,536 times; one is refused from
    4 KiB on.
    """
    whole = np.frombuffer(data, np.uint8, len(data) // _BLOCK * _BLOCK).reshape(-1, _BLOCK)
    empty = np.concatenate([[False], ~whole.any(axis=1), [False]])
    edges = np.flatnonzero(empty[1:] != empty[:-1]).reshape(-1, 2)  # (runs, [first, one behind the last])
    for first, last in (edges * _BLOCK).tolist():
        if last - first >= 8 * _BLOCK and last < len(data) and any(data[first - 2 : first]) and any(data[last:][:2]):
            return Flaw("damaged", f"holds nothing but zeros from byte {first} to {last}, whole blocks of a disk")
    return None


def _chunks(raw: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place and length of each chunk until one is no chunk or reaches past the file's end."""
    place = 12
    while place + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", bytes_at(raw, place, 8))
        if not all(32 <= byte < 127 for byte in name):
            return
        yield name, place + 8, length
        place += 8 + length + length % 2


def _wav_format(fmt: bytes) -> Flaw | None:
    tag, channels, rate, per_second, per_frame, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == 0xFFFE:
        tag = struct.unpack("<H", fmt[24:26])[0]
    widths = {1: (8, 16, 24, 32), 3: (32, 64), 6: (8,), 7: (8,)}.get(tag)
    if widths is None:  # ADPCM and the like: few bits, or none said
        fits = bits <= 6 or tag == 0x55
    else:
        fits = 8 * per_frame == channels * -(-bits // 8) * 8 and per_second == rate * per_frame
        fits = fits and -(-bits // 8) * 8 in widths
    if fits:
        return None
    said = f"{rate} Hz, {channels} channels of {bits} bits, {per_frame} bytes a frame and {per_second} a second"
    return Flaw("damaged", f"declares {said}, which contradict each other (a damaged header?)")


def _tail(raw: BinaryIO, end: int, size: int) -> Flaw | None:
    """Return a flaw where something lies behind the end that a container declares; padding and players' tags may."""
    tail = bytes_at(raw, end, 1 << 16)
    padded = size % _BLOCK == 0 and size - end < len(tail) + 1 and not tail.strip(b"\0")
    if not tail or padded or tail.startswith(PLAYERS_TAGS):
        return None
    return Flaw("damaged", f"holds {size} bytes, declares {end}: more than it should (a damaged header?)")
