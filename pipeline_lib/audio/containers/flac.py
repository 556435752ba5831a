"""FLAC: the rate in header and first frame, the MD5 of the sound, and no second stream behind the first."""

import struct

from pipeline_lib.audio.containers.layout import Layout, by_count
from pipeline_lib.audio.containers.span import MOST_CHUNKS, Defect, Sound, Span, check_number

_RATES = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_HEADS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")  # of a stream: a STREAMINFO of 34 bytes follows
_AT_ONCE = 1 << 20  # bytes
_WITH_CENTRE = (3, 5, 6, 7, 8)  # channels: L R C ..., by FLAC's own order


def md5(span: Span) -> bytes | None:
    """Return the MD5 of the sound that a FLAC declares; None for other files and where its encoder left it out."""
    digest = span.at(26, 16) if span.at(0, 4) == b"fLaC" and not span.header else b""
    return digest if len(digest) == 16 and any(digest) else None


def flac(span: Span) -> Layout:
    """Return a FLAC's layout, the header's rate compared with the first frame's; the rate is in no checksum.

    Raises:
        Defect: they differ, or there is no frame
    """
    position = 4
    declared = int.from_bytes(span.at(position + 14, 3), "big") >> 4
    channels = (span.at(position + 16, 1)[0] >> 1 & 7) + 1 if span.size > position + 16 else 0
    last, number = False, 0
    while not last:
        check_number(number := number + 1, "blocks of metadata", MOST_CHUNKS)
        kind, length = struct.unpack(">B3s", span.at(position, 4))
        last = kind >= 128
        position += 4 + int.from_bytes(length, "big")
    frame = span.at(position, 16)
    if len(frame) < 16:
        raise Defect("truncated", "ends before its first frame (an interrupted copy?)")
    if frame[0] != 0xFF or frame[1] & 0xFE != 0xF8:
        raise Defect("damaged", "has no frame where its header ends (a damaged header?)")
    code = frame[2] & 15
    number = 1 if frame[4] < 128 else 8 - (frame[4] ^ 0xFF).bit_length()  # bytes, coded as in UTF-8
    at = 4 + number + {6: 1, 7: 2}.get(frame[2] >> 4, 0)
    two = int.from_bytes(frame[at : at + 2], "big")
    rate = _RATES[code] if code < 12 else {12: frame[at] * 1000, 13: two, 14: two * 10}.get(code)
    if rate not in (0, declared):
        raise Defect("damaged", f"declares {declared} Hz, its first frame {rate} Hz (a damaged header?)")
    return Layout("FLAC", (Sound(span),), by_count(channels, _WITH_CENTRE), lambda: _refuse_second(span))


def _refuse_second(span: Span) -> None:
    """Refuse the head of a stream behind the first one's, of which a decoder would read nothing."""
    for position in range(4, span.size, _AT_ONCE):
        data = span.at(position, _AT_ONCE + 7)
        for head in _HEADS:
            if (index := data.find(head)) >= 0:
                text = f"has a second FLAC stream at byte {position + index}, of which nothing would be decoded"
                raise Defect("not supported", f"{text} (two files joined? decode and join them anew)")
