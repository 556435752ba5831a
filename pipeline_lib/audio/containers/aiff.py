"""AIFF and AIFF-C: frames x channels x width against the chunk that holds the sound, and that against the file."""

import struct

from pipeline_lib.audio.containers.layout import Layout, by_count, by_tag
from pipeline_lib.audio.containers.lengths import check_beginning, check_tail, held_of, is_unknown, raw_header
from pipeline_lib.audio.containers.span import MOST_CHUNKS, Defect, Sound, Span, check_number
from pipeline_lib.audio.containers.wave import check_lost_blocks

_CODES = {b"NONE": ("int", True), b"twos": ("int", True), b"sowt": ("int", False), b"raw ": ("unsigned", True)}
_CODES |= dict.fromkeys((b"fl32", b"FL32", b"fl64", b"FL64"), ("float", True))
_CODES |= {b"ulaw": ("ulaw", True), b"ULAW": ("ulaw", True), b"alaw": ("alaw", True), b"ALAW": ("alaw", True)}
_PACKED = (b"ima4",)  # what libsndfile decodes too, from front to back
_MACINTOSH_HZ = 15_667_200 / 704  # 22,254.545: the old Macintosh's pixel clock, a line of the screen
_SEVERAL = (3, 6, 8)  # channels among which the third is the centre


def aiff(span: Span) -> Layout:
    """Return an AIFF's layout, its chunks compared with one another and with the file.

    Raises:
        Defect: they do not agree, or the sound is in a form that cannot be decoded
    """
    form, length = span.at(8, 4), struct.unpack(">I", span.at(4, 4))[0]
    if form not in (b"AIFF", b"AIFC"):
        raise Defect("not supported", f"is IFF of the form {form!r}")
    piped = is_unknown(length, span.size - 8)
    if not piped and length + 8 > span.size:
        raise Defect("truncated", f"holds {span.size} bytes, declares {length + 8} bytes (an interrupted copy?)")
    end = span.size if piped else length + 8
    chunks = _chunks(span, end, form)
    if b"COMM" not in chunks or b"SSND" not in chunks:
        missing = "COMM" if b"COMM" not in chunks else "SSND"
        raise Defect("damaged", f"has no {missing} chunk (a damaged header?)")
    common = span.at(chunks[b"COMM"][0], 22)
    channels, frames, bits, exponent, mantissa = struct.unpack(">HIHHQ", common[:18])
    rate, exact = _rate(exponent, mantissa)
    code = common[18:22] if form == b"AIFC" else b"NONE"
    centre = by_count(channels, _SEVERAL)
    if b"CHAN" in chunks:
        layout_tag, mask = struct.unpack(">II", span.at(chunks[b"CHAN"][0], 8))
        centre = by_tag(layout_tag, mask, channels)
    position, length = chunks[b"SSND"]
    start = position + 8 + struct.unpack(">I", span.at(position, 4))[0]
    unknown = is_unknown(length - 8 if length > 8 else 0, end - start)
    if unknown:
        check_beginning(span, start)
    n_bytes = end - start if unknown else held_of(length + position - start, end - start)
    if not piped:
        check_tail(span, end)
    if code not in _CODES:
        if code not in _PACKED:
            raise Defect("not supported", f"is an AIFF-C whose sound is coded as {code!r}, which cannot be decoded")
        return Layout("AIFF", (Sound(span),), centre)
    (kind, big), width = _CODES[code], -(-bits // 8)
    if kind in ("ulaw", "alaw"):
        width = 1  # some writers declare the 16 bits that it decodes to
    expected = frames * channels * width
    if not unknown and n_bytes != expected:
        raise Defect("damaged", f"declares {expected} bytes of sound and holds {n_bytes} (a damaged header?)")
    n_frames = n_bytes // max(1, channels * width)
    sound = Sound(span, n_frames)
    if unknown or piped or not exact:
        header = raw_header(kind, width, rate, channels, big)
        sound = Sound(span.part(start, start + n_frames * channels * width, header), n_frames)
    return Layout("AIFF", (sound,), centre, lambda: check_lost_blocks(span))


def _chunks(span: Span, end: int, form: bytes) -> dict[bytes, tuple[int, int]]:
    """Return the position of each chunk's content, and its declared length."""
    chunks, position, number = {}, 12, 0
    while position + 8 <= end:
        check_number(number := number + 1, "chunks", MOST_CHUNKS)
        name, length = struct.unpack(">4sI", span.at(position, 8))
        if not all(32 <= byte < 127 for byte in name):
            break
        if name == b"SSND" and name in chunks:
            raise Defect("not supported", f"has a second chunk of sound at byte {position} (two recordings in one?)")
        chunks[name] = position + 8, length
        if name == b"SSND" and is_unknown(length - 8 if length > 8 else 0, end - position - 16) and b"COMM" in chunks:
            break
        position += 8 + length + length % 2
    return chunks


def _rate(exponent: int, mantissa: int) -> tuple[int, bool]:
    """Return an 80-bit number of hertz, rounded, and whether it is a whole one; the old Macintosh's are not.

    Raises:
        Defect: it is neither
    """
    shift = 16_383 + 63 - exponent
    if not 0 < shift < 64:
        raise Defect("damaged", "declares a rate that no recording has (a damaged header?)")
    hertz = mantissa / (1 << shift)
    macintosh = any(abs(hertz - _MACINTOSH_HZ / divisor) < 0.01 for divisor in (1, 2, 3, 4))
    if mantissa % (1 << shift) and not macintosh:
        raise Defect("damaged", "declares a rate that is no whole number of hertz (a damaged header?)")
    return round(hertz), not mantissa % (1 << shift)
