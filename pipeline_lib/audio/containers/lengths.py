"""Declared lengths: which are whole, which mean "unknown", which are broken; headers that declare no length."""

import struct

from pipeline_lib.audio.containers.span import Defect, Span

PLAYERS_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
BEGINNINGS = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff.\x91\xcf\x11",
    b"FORM",
    b".snd",
    b"dns.",
    b"caff",
    b"NIST_1A\n",
    b"fLaC",
)
BLOCK = 512  # bytes; disks, networks and sparse files lose whole ones
_NEAR = (1 << 16) + 8_192  # bytes: programs round the largest number down to a block and subtract their header
_LARGEST = (1 << 32, 1 << 31, 0x7F000000)
_NO_DISK = 1 << 48  # bytes: no disk holds that
_AU = {("int", 1): 2, ("int", 2): 3, ("int", 3): 4, ("int", 4): 5, ("float", 4): 6, ("float", 8): 7}
_AU |= {("ulaw", 1): 1, ("alaw", 1): 27}


def is_unknown(length: int, held: int, bits: int = 32) -> bool:
    """Return whether a declared length of sound means "unknown": the recorder could not go back and correct it.

    That is 0 with sound behind it, and where it exceeds what is there: the largest numbers of the field, signed or not
    (0xFFFFFFFF; 0x7FFFF000 of SoX, 0x7FFF0000, and 0x7F000000 in AIFF; 0x7FFFFFFF; 0x80000000 of arecord), with a
    header added or subtracted, or more than any disk holds.

    Args:
        length: declared, bytes
        held: bytes in the file
        bits: width of the field, 32 or 64
    """
    if length <= held:
        return length == 0 and held > 0
    if bits == 64 and length >= _NO_DISK:
        return True
    return any(abs(length - number) <= _NEAR for number in _LARGEST)


def held_of(length: int, held: int, bits: int = 32) -> int:
    """Return the number of bytes of sound in the file.

    Args:
        length: declared, bytes
        held: bytes in the file
        bits: width of the field, 32 or 64

    Raises:
        Defect: fewer than are declared
    """
    if is_unknown(length, held, bits):
        return held
    if length > held:
        raise Defect("truncated", f"holds {held} bytes of sound, declares {length} (an interrupted copy?)")
    return length


def check_beginning(span: Span, start: int) -> None:
    """Refuse sound of unknown length that begins with a header: a program wrote it anew where it could not go back.

    Args:
        span: the file
        start: position of the sound, bytes

    Raises:
        Defect: a header begins there
    """
    if span.at(start, 16).startswith(BEGINNINGS):
        text = f"has a second header at byte {start}, where its sound begins (written to a pipe?)"
        raise Defect("damaged", f"{text}; write it to a file")


def check_tail(span: Span, end: int) -> None:
    """Refuse bytes behind the end that a container declares, other than padding with zeros and players' tags.

    Args:
        span: the file
        end: declared, bytes

    Raises:
        Defect: there are other bytes
    """
    left = span.size - end
    tail = span.at(end, 1 << 16)
    if tail.startswith(BEGINNINGS):
        raise Defect("not supported", f"has another recording behind its own end at byte {end} (two files joined?)")
    zeros = not tail.strip(b"\0") and (left <= 4_096 or (span.size % BLOCK == 0 and left <= len(tail)))
    if left > 0 and not zeros and not tail.startswith(PLAYERS_TAGS):
        raise Defect("damaged", f"holds {span.size} bytes, declares {end}: more than it should (a damaged header?)")


def raw_header(kind: str, width: int, rate: int, channels: int, big: bool) -> bytes:
    """Return a header of unknown length for sound that follows it, for what a decoder reads wrongly from its own.

    Args:
        kind: "int", "unsigned", "float", "ulaw" or "alaw"
        width: bytes a sample
        rate: Hz
        channels: number of channels
        big: whether samples are big-endian
    """
    if kind == "unsigned":
        frame = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * width & 0xFFFFFFFF, channels * width, 8)
        return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + frame + b"data\xff\xff\xff\xff"
    magic, order = (b".snd", ">") if big else (b"dns.", "<")
    return magic + struct.pack(f"{order}5I", 24, 0xFFFFFFFF, _AU[kind, width], rate, channels)
