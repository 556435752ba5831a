"""AU, NIST SPHERE and Core Audio: a header, and behind it the sound, whose length it declares."""

import struct

from pipeline_lib.audio.containers.layout import Layout, by_count, by_tag
from pipeline_lib.audio.containers.lengths import (
    BEGINNINGS,
    check_beginning,
    check_tail,
    held_of,
    is_unknown,
    raw_header,
)
from pipeline_lib.audio.containers.span import MOST_CHUNKS, Defect, Sound, Span, check_number

_AU = {1: ("ulaw", 1), 2: ("int", 1), 3: ("int", 2), 4: ("int", 3), 5: ("int", 4)}
_AU |= {6: ("float", 4), 7: ("float", 8), 27: ("alaw", 1)}
_NIST = {"pcm": "int", "ulaw": "ulaw", "mu-law": "ulaw", "alaw": "alaw"}
_CAF_PACKED = (b"alac", b"ima4")  # what libsndfile decodes too


def au(span: Span) -> Layout:
    """Return the layout of Sun's and NeXT's AU; a length of 0xFFFFFFFF means "unknown" there.

    Raises:
        Defect: it declares more or less than it holds, or a form that cannot be decoded
    """
    big = span.at(0, 4) == b".snd"
    start, length, code, rate, channels = struct.unpack(">5I" if big else "<5I", span.at(4, 20))
    if start < 24 or start > span.size:
        raise Defect("truncated" if start > 23 else "damaged", f"declares {start} bytes of header, holds {span.size}")
    if code not in _AU:
        raise Defect("not supported", f"is an AU whose sound is coded as number {code}, which cannot be decoded")
    kind, width = _AU[code]
    return _plain(span, "AU", start, length, kind, width, rate, channels, big, by_count(channels))


def nist(span: Span) -> Layout:
    """Return the layout of NIST SPHERE, as LDC publishes; shorten and wavpack inside cannot be decoded.

    Raises:
        Defect: it declares more or less than it holds, or a form that cannot be decoded
    """
    start = _number(span.at(8, 8).strip().decode("ascii", "replace"), "its header's length")
    fields = {}
    for line in span.at(0, min(start, 65_536)).decode("ascii", "replace").splitlines()[2:]:
        if line.startswith("end_head"):
            break
        name, _, value = line.partition(" ")
        fields[name] = value.partition(" ")[2].strip()
    coding = fields.get("sample_coding", "pcm")
    if coding not in _NIST:
        raise Defect("not supported", f"is a NIST SPHERE whose sound is coded as {coding!r}; sph2pipe decodes it")
    channels = _number(fields.get("channel_count", ""), "channel_count")
    rate = _number(fields.get("sample_rate", ""), "sample_rate")
    width = _number(fields.get("sample_n_bytes", "1" if _NIST[coding] != "int" else ""), "sample_n_bytes")
    if not (channels and rate and width in (1, 2, 3, 4)):
        text = f"{rate} Hz, {channels} channels of {width} bytes"
        raise Defect("damaged", f"declares {text}, which no recording has (a damaged header?)")
    count = _number(fields.get("sample_count", "0"), "sample_count")
    big = fields.get("sample_byte_format", "01") not in ("01", "1")
    length = count * channels * width
    if is_unknown(count, (span.size - start) // (channels * width)):
        length = 0
    return _plain(span, "NIST SPHERE", start, length, _NIST[coding], width, rate, channels, big, None)


def caf(span: Span) -> Layout:
    """Return the layout of Apple's Core Audio Format; a length of -1 means "unknown" there.

    Raises:
        Defect: it declares more or less than it holds, or a form that cannot be decoded
    """
    position, described, chan, data, number = 8, b"", None, None, 0
    while position + 12 <= span.size:
        check_number(number := number + 1, "chunks", MOST_CHUNKS)
        name, length = struct.unpack(">4sq", span.at(position, 12))
        start = position + 12
        if name == b"desc":
            described = span.at(start, 32)
        if name == b"chan":
            chan = struct.unpack(">II", span.at(start, 8))
        if name == b"data":
            data = start + 4, length - 4 if length >= 4 else (1 << 64) - 1 if length < 0 else 0
            if is_unknown(data[1], span.size - data[0], 64):
                break
        if name in BEGINNINGS:
            check_tail(span, position)
        if length < 0 or (start + length > span.size and name != b"data"):
            raise Defect("damaged", f"declares a chunk of {length} bytes at byte {position}, more than there are")
        position = start + length
    if data is None or len(described) < 32:
        raise Defect("truncated", f"holds {span.size} bytes and no sound (an interrupted copy?)")
    rate, code, flags, per_packet, _, channels, bits = struct.unpack(">d4s5I", described)
    centre = by_count(channels) if chan is None else by_tag(chan[0], chan[1], channels)
    held = held_of(data[1], span.size - data[0], 64)
    unknown = is_unknown(data[1], span.size - data[0], 64)
    if not unknown:
        check_tail(span, min(position, span.size))
    if code in _CAF_PACKED:
        return Layout("CAF", (Sound(span),), centre)
    kind = {b"lpcm": "float" if flags & 1 else "int", b"ulaw": "ulaw", b"alaw": "alaw"}.get(code)
    if kind is None:
        raise Defect("not supported", f"is a CAF whose sound is coded as {code!r}, which cannot be decoded")
    width = per_packet // max(1, channels)
    if not rate.is_integer() or not channels or width != -(-bits // 8) or width not in (1, 2, 3, 4, 8):
        text = f"{rate:g} Hz, {channels} channels of {bits} bits, {per_packet} bytes a packet"
        raise Defect("damaged", f"declares {text}, which contradict each other (a damaged header?)")
    n_frames = held // per_packet
    if not unknown:
        return Layout("CAF", (Sound(span, n_frames),), centre)
    check_beginning(span, data[0])
    header = raw_header(kind, width, int(rate), channels, not flags & 2)
    return Layout("CAF", (Sound(span.part(data[0], data[0] + n_frames * per_packet, header), n_frames),), centre)


def _plain(
    span: Span,
    container: str,
    start: int,
    length: int,
    kind: str,
    width: int,
    rate: int,
    channels: int,
    big: bool,
    centre: int | None,
) -> Layout:
    """Return the layout of a header with sound behind it, up to the file's end."""
    if not channels:
        raise Defect("damaged", "declares no channel (a damaged header?)")
    held = held_of(length, span.size - start)
    n_frames = held // (channels * width)
    if not is_unknown(length, span.size - start):
        check_tail(span, start + length)
        return Layout(container, (Sound(span, n_frames),), centre)
    check_beginning(span, start)
    header = raw_header(kind, width, rate, channels, big)
    sound = Sound(span.part(start, start + n_frames * channels * width, header), n_frames)
    return Layout(container, (sound,), centre)


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Defect("damaged", f"declares {text!r} as {name}, expected a number (a damaged header?)") from None
