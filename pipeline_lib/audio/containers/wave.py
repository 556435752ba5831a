"""WAV in all its widths: RIFF, RIFX, RF64, BW64 and Sony's Wave64.

``fmt`` declares a rate and a width twice, ``data`` a length; sound has no checksum. What libsndfile would read wrongly
(an unknown length of 0, more bytes a sample than its bits fill, ``fmt`` behind ``data``) is given to it behind a header
that it reads right.
"""

import struct
from dataclasses import dataclass

import numpy as np

from pipeline_lib.audio.containers import mp3
from pipeline_lib.audio.containers.layout import Layout, by_count, by_mask
from pipeline_lib.audio.containers.lengths import (
    BEGINNINGS,
    BLOCK,
    check_beginning,
    check_tail,
    held_of,
    is_unknown,
    raw_header,
)
from pipeline_lib.audio.containers.span import MOST_CHUNKS, Defect, Sound, Span, check_number

MAGICS = {b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "RF64", b"BW64": "BW64", b"riff": "Wave64"}
_GUIDS = b"riff.\x91\xcf\x11\xa5\xd6(\xdb\x04\xc1\x00\x00", b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a"
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_KINDS = {_PCM: "int", _FLOAT: "float", _ALAW: "alaw", _ULAW: "ulaw"}
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8), _ALAW: (1,), _ULAW: (1,)}
_PACKED = {2, 0x11}  # Microsoft's and IMA's ADPCM
_MPEG = {0x50, 0x55}
_NAMES = b"LISTbextid3 ID3 iXMLcue smplfactPEAKJUNKjunkPAD _PMXaxmlcartDISPinstacidafspstrcumidplstFLLRelm1"
_METADATA = frozenset(
    _NAMES[i : i + 4] for i in range(0, len(_NAMES), 4)
)  # chunks whose loss at the end loses no sound
_AT_ONCE = 1 << 22  # bytes


@dataclass
class _Chunks:
    """Content of ``fmt``, begin and length of the sound, end of the last chunk, and whether the order is unusual."""

    fmt: bytes = b""
    start: int = -1
    n_bytes: int = 0
    end: int = 12
    odd: bool = False


def wave(span: Span) -> Layout:
    """Return the layout of a WAV, ``fmt`` checked for contradictions and ``data`` compared with the file.

    Raises:
        Defect: they do not agree, or the sound is in a form that cannot be decoded
    """
    magic = span.at(0, 4)
    container, order = MAGICS[magic], ">" if magic == b"RIFX" else "<"
    chunks = _of_wave64(span) if magic == b"riff" else _of_riff(span, order)
    if chunks.start < 0:
        raise Defect("truncated", f"holds {span.size} bytes and no data chunk (an interrupted copy?)")
    if len(chunks.fmt) < 16:
        raise Defect("damaged", "has no fmt chunk of 16 bytes or more (a damaged header?)")
    tag, channels, rate, per_second, per_frame, bits = struct.unpack(f"{order}HHIIHH", chunks.fmt[:16])
    mask = None
    if tag == _EXTENSIBLE and len(chunks.fmt) >= 26:
        mask, tag = struct.unpack(f"{order}IH", chunks.fmt[20:26])
    end = chunks.start + chunks.n_bytes
    if tag in _MPEG:
        return mp3.mpeg(span.part(chunks.start, end))
    centre = by_count(channels) if mask is None else by_mask(mask, channels)
    text = f"{rate} Hz, {channels} channels of {bits} bits, {per_frame} bytes a frame and {per_second} a second"
    wrong = Defect("damaged", f"declares {text}, which contradict each other (a damaged header?)")
    if tag not in _KINDS:
        if tag not in _PACKED:
            raise Defect(
                "not supported", f"is a WAV whose sound is coded as format {tag:#06x}, which cannot be decoded"
            )
        if bits > 6:
            raise wrong
        sound = Sound(span)
    else:
        width = per_frame // max(1, channels)
        if not channels or per_frame != width * channels or per_second != rate * per_frame or not 0 < bits <= 8 * width:
            raise wrong
        if width not in _WIDTHS[tag] or (tag != _PCM and bits != 8 * width):
            raise Defect("not supported", f"has samples of {bits} bits in {width} bytes, a form that cannot be decoded")
        gain, wide = 1.0, -(-bits // 8) != width
        if wide:
            gain = _alignment(span, chunks, width, bits, order)
        n_frames = chunks.n_bytes // per_frame
        sound = Sound(span, n_frames, gain)
        if chunks.odd or wide or container == "BW64":
            kind = "unsigned" if tag == _PCM and width == 1 else _KINDS[tag]
            header = raw_header(kind, width, rate, channels, order == ">")
            sound = Sound(span.part(chunks.start, chunks.start + n_frames * per_frame, header), n_frames, gain)
    check_tail(span, chunks.end)
    return Layout(container, (sound,), centre, lambda: check_lost_blocks(span))


def check_lost_blocks(span: Span) -> None:
    """Refuse zeros that fill blocks of a disk, and nothing but such blocks, amid sound.

    Digital silence begins and ends wherever it likes, at both edges of blocks once in 65,536 times; one is refused from
    4 KiB on.

    Raises:
        Defect: there are some
    """
    filled = [
        np.frombuffer(data, np.uint8, len(data) // BLOCK * BLOCK).reshape(-1, BLOCK).any(axis=1)
        for position in range(0, span.size, _AT_ONCE)
        if (data := span.at(position, _AT_ONCE))
    ]
    empty = np.concatenate([[False], ~np.concatenate(filled), [False]])
    edges = np.flatnonzero(empty[1:] != empty[:-1]).reshape(-1, 2)  # (runs, [first, one behind the last])
    for first, last in (edges * BLOCK).tolist():
        inside = last - first >= 8 * BLOCK and last < span.size
        if inside and any(span.at(max(0, first - 2), min(2, first))) and any(span.at(last, 2)):
            raise Defect("damaged", f"holds nothing but zeros from byte {first} to {last}, whole blocks of a disk")


def _of_riff(span: Span, order: str) -> _Chunks:
    chunks, position, long = _Chunks(), 12, None
    number = 0
    while _is_name(name := span.at(position, 4)) and position + 8 <= span.size:
        check_number(number := number + 1, "chunks", MOST_CHUNKS)
        (length,) = struct.unpack(f"{order}I", span.at(position + 4, 4))
        start, bits = position + 8, 32
        if name in BEGINNINGS:
            check_tail(span, position)
        if name == b"ds64":
            long = struct.unpack(f"{order}Q", span.at(start + 8, 8))[0]
        if name == b"fmt ":
            chunks.fmt = span.at(start, min(length, 40))
            chunks.odd |= chunks.start >= 0
        if name == b"data":
            if chunks.start >= 0:
                raise Defect(
                    "not supported", f"has a second chunk of sound at byte {position} (two recordings in one?)"
                )
            if length == 0xFFFFFFFF and long is not None:
                length, bits = long, 64
            held = span.size - start
            if is_unknown(length, held, bits) and not (length == 0 and _is_chunk(span, start, order)):
                check_beginning(span, start)
                chunks.start, chunks.n_bytes, chunks.end, chunks.odd = start, held, span.size, True
                return chunks
            chunks.start, chunks.n_bytes = start, held_of(length, held, bits) if length else 0
        if start + length > span.size and chunks.start >= 0 and name not in _METADATA | {b"data"}:
            break  # no chunk
        position = chunks.end = start + length
        if length % 2:
            padded = span.at(position, 1) == b"\0" or not _is_chunk(span, position, order)
            chunks.odd |= not padded and chunks.start < 0
            position = chunks.end = position + padded
    return chunks


def _of_wave64(span: Span) -> _Chunks:
    chunks, position = _Chunks(), 40
    if span.at(0, 16) != _GUIDS[0] or span.at(24, 16) != b"wave" + _GUIDS[1]:
        raise Defect("damaged", "begins like a Wave64 and is none (a damaged header?)")
    number = 0
    while position + 24 <= span.size:
        check_number(number := number + 1, "chunks", MOST_CHUNKS)
        name, rest, length = struct.unpack("<4s12sQ", span.at(position, 24))
        if rest != _GUIDS[1]:
            break
        start, held = position + 24, span.size - position - 24
        if name == b"data":
            inside = max(0, length - 24)  # the chunk's own header counts
            if is_unknown(inside, held, 64):
                check_beginning(span, start)
                chunks.start, chunks.n_bytes, chunks.end, chunks.odd = start, held, span.size, True
                return chunks
            chunks.start, chunks.n_bytes = start, held_of(inside, held, 64)
        elif length < 24:
            raise Defect("damaged", f"has a chunk of {length} bytes at byte {position}, shorter than its own header")
        if name == b"fmt ":
            chunks.fmt = span.at(start, min(length - 24, 40))
        chunks.end = position + length
        position += -(-length // 8) * 8
    chunks.end = max(chunks.end, min(position, span.size))
    return chunks


def _alignment(span: Span, chunks: _Chunks, width: int, bits: int, order: str) -> float:
    """Return the gain of samples that fill a part of their bytes: the upper bits, or the lower ones.

    Raises:
        Defect: they fill more
    """
    shift, step = 8 * width - bits, _AT_ONCE // width * width
    end = chunks.start + chunks.n_bytes // width * width
    upper = lower = True
    for position in range(chunks.start, end, step):
        raw = np.frombuffer(span.at(position, min(step, end - position)), np.uint8).reshape(-1, width)
        whole = np.zeros((len(raw), 8), np.uint8)
        whole[:, 8 - width :] = raw if order == "<" else raw[:, ::-1]
        values = whole.view("<i8")[:, 0] >> 8 * (8 - width)
        upper &= not (values & ((1 << shift) - 1)).any()
        lower &= bool((np.abs(values + 0.5) < 1 << bits - 1).all())
        if not (upper and lower):
            break
    if not (upper or lower):
        raise Defect("damaged", f"declares {bits} bits in {width} bytes, and its samples fill more (a damaged header?)")
    return float(1 << shift) if lower else 1.0  # both: coarse samples, rather than a recording of -48 dB and less


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)


def _is_chunk(span: Span, position: int, order: str) -> bool:
    """Return whether a chunk begins here and ends inside the file."""
    head = span.at(position, 8)
    return len(head) == 8 and _is_name(head[:4]) and position + 8 + struct.unpack(f"{order}I", head[4:])[0] <= span.size
