"""Ogg: a CRC-32 and a number in every page. libogg skips a bad page without a word; here it is a flaw."""

import struct
import zlib
from typing import BinaryIO

from pipeline_lib.containers.flaw import Flaw, bytes_at

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def last_page(raw: BinaryIO, size: int) -> Flaw | None:
    """Look whether the last page is whole and ends the stream."""
    tail = min(size, 2 * 65_307)  # the largest page has 65,307 bytes
    data = bytes_at(raw, size - tail)
    at = data.rfind(b"OggS")
    if at < 0 or at + 27 > len(data):
        return Flaw("truncated", f"holds {size} bytes, its last page is not the stream's end (an interrupted copy?)")
    table = data[at + 27 : at + 27 + data[at + 26]]
    end = at + 27 + data[at + 26] + sum(table)
    if len(table) < data[at + 26] or end > len(data):
        return Flaw("truncated", f"holds {size} bytes and ends inside a page (an interrupted copy?)")
    if not data[at + 5] & 4:
        return Flaw("truncated", f"holds {size} bytes, its last page is not the stream's end (an interrupted copy?)")
    return None


def pages(data: bytes) -> Flaw | None:
    """Look whether each page begins where the last ends, follows it by number, and matches its checksum."""
    at, following = 0, {}
    while at < len(data):
        page = data[at : at + 27]
        if len(page) < 27 or page[:5] != b"OggS\0":
            return Flaw("damaged", f"has no page at byte {at}, where the last one ends")
        serial, number, said = struct.unpack("<III", page[14:26])
        table = data[at + 27 : at + 27 + page[26]]
        end = at + 27 + len(table) + sum(table)
        if number != following.get(serial, number) or bool(page[5] & 2) != (serial not in following):
            return Flaw("damaged", f"lacks a page before byte {at}, or has one twice")
        if _crc(page[:22] + bytes(4) + data[at + 26 : end]) != said:
            return Flaw("damaged", f"has a page at byte {at} that does not match its checksum")
        following[serial] = number + 1
        at = end
    return None


def _crc(page: bytes) -> int:
    """Return Ogg's CRC-32: zlib's polynomial, bits the other way round, no complement before and after."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")
