"""Compare what a container declares with what it holds; libsndfile plays a damaged file without a word.

Every container that is taken is inspected here, and no other is taken. The defects that each one shows:

===============  =====================================================================================================
WAV, RF64, BW64  sizes of chunks, and a format that is declared twice; sound has no checksum: bytes replaced by others
Wave64, AIFF     are seen by the corpus's own ``SHA256SUMS`` only, but for zeros that fill whole blocks of a disk
AU, CAF, SPHERE  the length of the sound
FLAC             the rate in header and first frame; the sound's MD5, which ``reading`` compares where there is one
Ogg              a CRC-32 and a number in every page, which libogg uses to *skip* a bad page: here the page is a defect
MP3              each frame begins where the last ends, at the same rate; the number of frames and a CRC-16 of all of
                 them where the encoder wrote a LAME tag (LAME and FFmpeg do)
===============  =====================================================================================================
"""

import struct
from collections.abc import Callable

from pipeline_lib.audio.containers.aiff import aiff
from pipeline_lib.audio.containers.flac import flac
from pipeline_lib.audio.containers.headers import au, caf, nist
from pipeline_lib.audio.containers.layout import Layout
from pipeline_lib.audio.containers.mp3 import is_mpeg, mpeg
from pipeline_lib.audio.containers.ogg import ogg
from pipeline_lib.audio.containers.span import Defect, Span, behind_id3
from pipeline_lib.audio.containers.wave import MAGICS, wave

TAKEN = "WAV, RF64, BW64, Wave64, AIFF, AIFF-C, AU, CAF, NIST SPHERE, FLAC, MP3 (MPEG audio), Ogg with Vorbis or Opus"
INSPECTED: dict[bytes, Callable[[Span], Layout]] = {
    **dict.fromkeys(MAGICS, wave),
    **{b"FORM": aiff, b".snd": au, b"dns.": au, b"caff": caf, b"NIST": nist, b"fLaC": flac, b"OggS": ogg},
}
_OTHERS = (  # known, and not taken: offset, magic bytes, name
    (4, b"ftyp", "MP4 (M4A)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMA)"),
    (0, b"#!AMR", "AMR"),
    (0, b"#!SILK", "SILK"),
    (0, b"\x02#!SILK", "SILK"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"ajkg", "Shorten"),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"ADIF", "AAC (ADIF)"),
    (0, b"Creative Voice File\x1a", "VOC"),
)


def not_taken(name: str) -> Defect:
    """Return the defect of a container that is known and not taken."""
    return Defect("not supported", f"is {name}, not a container that is taken ({TAKEN}); convert it first")


def inspect(span: Span) -> Layout | None:
    """Return the layout of a recording; None where its container is unknown.

    Raises:
        Defect: the container contradicts itself or the file, or what is in it cannot be decoded
    """
    start = 0
    while length := behind_id3(span.at(start, 10)):
        start += length
    inside = span.part(start, span.size) if start else span
    head = inside.at(0, 32)
    try:
        if head[:4] in (b"RIFF", b"FORM") and head[8:12] not in (b"WAVE", b"AIFF", b"AIFC") and len(head) >= 12:
            name = {b"AVI ": "AVI", b"8SVX": "IFF 8SVX", b"16SV": "IFF 16SV"}.get(head[8:12])
            raise not_taken(name or f"{head[:4].decode()} of the form {head[8:12]!r}")
        if head[:4] in INSPECTED:
            return INSPECTED[head[:4]](inside)
    except (struct.error, IndexError):
        raise Defect(
            "truncated", f"holds {span.size} bytes and ends inside its header (an interrupted copy?)"
        ) from None
    for offset, magic, name in _OTHERS:
        if head.startswith(magic, offset):
            raise not_taken(name)
    if _is_adts(inside):
        raise not_taken("AAC (ADTS)")
    if start or is_mpeg(inside) or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return mpeg(span)
    return None


def _is_adts(span: Span) -> bool:
    """Return whether two frames of AAC follow each other."""
    head = span.at(0, 6)
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    following = span.at((head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5, 4)
    return following[:2] == head[:2] and following[2:3] == head[2:3]
