"""Ogg: a CRC-32 and a number in every page, and streams one behind another, each with a beginning and an end.

libogg skips a bad page without a word, and libsndfile reads the first of several streams only. Here a bad page is a
defect, and each stream of a chain is given to the decoder by itself.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from pipeline_lib.audio.containers.layout import Layout, by_count
from pipeline_lib.audio.containers.span import MOST_SOUNDS, Defect, Sound, Span, check_number

LARGEST = 1 << 30  # bytes: at 512 kbit/s more than four hours
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CODECS = {b"\x01vorbis": "Vorbis", b"OpusHead": "Opus"}
_OTHERS = {b"\x7fFLAC": "FLAC", b"Speex   ": "Speex", b"\x80theora": "Theora", b"BBCD": "Dirac", b"\x80kate": "Kate"}
_SEVERAL = (3, 5, 6, 7, 8)  # channels, in the order L C R ...


class _Page(NamedTuple):
    position: int
    end: int
    flags: int
    serial: int
    number: int
    body: int


def ogg(span: Span) -> Layout:
    """Return an Ogg's layout: pages that follow one another without a gap, the chain cut into its links.

    Raises:
        Defect: a page is missing or out of order, a stream does not end, or is of a codec that cannot be decoded
    """
    if span.size > LARGEST:
        raise Defect("too long", f"holds {span.size} bytes, expected at most {LARGEST} of a compressed recording")
    links: list[Sound] = []
    centre = None
    for begin, end, heads in _links(span):
        known = [head for head in heads if any(head.startswith(magic) for magic in _CODECS)]
        if not known:
            _check_crcs(span.part(begin, end))
            names = {name for head in heads for magic, name in _OTHERS.items() if head.startswith(magic)}
            text = f"is Ogg with {', '.join(sorted(names)) or 'an unknown codec'} inside"
            raise Defect("not supported", f"{text}, expected {', '.join(_CODECS.values())}")
        centre = _centre(known[0]) if not links else centre
        links.append(Sound(span.part(begin, end)))
        check_number(len(links), "streams", MOST_SOUNDS)
    return Layout("Ogg", tuple(links), centre, lambda: _check_crcs(span))


def _links(span: Span) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield begin, end and the first bytes of each stream of every link of the chain."""
    begin, last = 0, None
    heads: list[bytes] = []
    following: dict[int, int] = {}  # serial -> number of its next page
    ended: set[int] = set()
    for page in _pages(span):
        starts = bool(page.flags & 2)
        if starts and last is not None and not last.flags & 2:  # a group of beginnings after sound: the next link
            if ended != set(following):
                raise Defect(
                    "truncated", f"has a stream that does not end before byte {page.position}, where another begins"
                )
            yield begin, page.position, heads
            begin, heads, following, ended = page.position, [], {}, set()
        if page.number != following.get(page.serial, page.number) or starts != (page.serial not in following):
            raise Defect("damaged", f"lacks a page before byte {page.position}, or has one twice")
        if starts:
            heads.append(span.at(page.body, 64))
            check_number(len(heads), "streams at once", MOST_SOUNDS)
        if page.flags & 4:
            ended.add(page.serial)
        following[page.serial] = page.number + 1
        last = page
    if last is None or not last.flags & 4:
        raise Defect(
            "truncated", f"holds {span.size} bytes, its last page is not the stream's end (an interrupted copy?)"
        )
    yield begin, span.size, heads


def _pages(span: Span) -> Iterator[_Page]:
    position = 0
    while position < span.size:
        head = span.at(position, 27)
        if not head.startswith(b"OggS\0"[: len(head)]):
            raise Defect("damaged", f"has no page at byte {position}, where the last one ends")
        table = span.at(position + 27, head[26]) if len(head) == 27 else b""
        end = position + 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or end > span.size:
            raise Defect("truncated", f"holds {span.size} bytes and ends inside a page (an interrupted copy?)")
        serial, number = struct.unpack("<II", head[14:22])
        yield _Page(position, end, head[5], serial, number, position + 27 + len(table))
        position = end


def _check_crcs(span: Span) -> None:
    for page in _pages(span):
        data = span.at(page.position, page.end - page.position)
        if _crc(data[:22] + bytes(4) + data[26:]) != struct.unpack("<I", data[22:26])[0]:
            raise Defect("damaged", f"has a page at byte {page.position} that does not match its checksum")


def _centre(head: bytes) -> int | None:
    """Return the centre's index by the codec's own order of channels."""
    if head.startswith(b"\x01vorbis"):
        return by_count(head[11], _SEVERAL, 1)
    return by_count(head[9], _SEVERAL, 1) if head[18] == 1 else None  # Opus's mapping family 1; others have no order


def _crc(page: bytes) -> int:
    """Return Ogg's CRC-32: zlib's polynomial, bits the other way round, no complement before and after."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")
