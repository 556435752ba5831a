"""What a container says of itself, held against what it holds; libsndfile plays a damaged file without a word.

``header`` looks at a few bytes, ``body`` at every byte. A flaw is a reason of ``BadAudio`` and a sentence about the
file. What each container lets one see:

==========  ==========================================================================================================
WAV, AIFF   sizes of chunks, and a format that is said twice; sound has no checksum: bytes replaced by other bytes are
            seen by the corpus's own ``SHA256SUMS`` only, but for zeros that fill whole blocks of a disk
FLAC        the rate in header and first frame; the sound's MD5, which ``audio`` compares where the encoder wrote one
Ogg         a CRC-32 and a number in every page, which libogg uses to *skip* a bad page: here the page is a flaw
MP3         each frame begins where the last ends, at the same rate; the number of frames and a CRC-16 of all of them
            where the encoder wrote a LAME tag (LAME and FFmpeg do)
==========  ==========================================================================================================
"""

import os
import struct
from typing import BinaryIO

from pipeline_lib.containers import flac, mp3, ogg, riff
from pipeline_lib.containers.flaw import Flaw, bytes_at

LARGEST = 1 << 30  # bytes of Ogg or MP3: at 512 kbit/s more than four hours


def header(raw: BinaryIO) -> Flaw | None:
    """Return what contradicts itself in the container's frame, read from the places where it says lengths and rates."""
    size = os.fstat(raw.fileno()).st_size
    head = bytes_at(raw, 0, 12)
    try:
        if head[:4] == b"RIFF":
            return riff.wav(raw, size)
        if head[:4] == b"FORM":
            return riff.aiff(raw, size, head)
        if head[:4] == b"OggS":
            return ogg.last_page(raw, size)
        place = flac.start(raw)
        return None if place is None else flac.flac(raw, place)
    except struct.error:
        return Flaw("truncated", f"holds {size} bytes and ends inside its header (an interrupted copy?)")


def body(raw: BinaryIO) -> Flaw | None:
    """Return the first place at which the container's own checksums, counts or order are broken; reads every byte."""
    head = bytes_at(raw, 0, 12)
    if head[:4] in (b"RIFF", b"FORM"):
        return riff.lost_blocks(bytes_at(raw, 0))
    is_mp3 = head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    if not (head[:4] == b"OggS" or (is_mp3 and flac.start(raw) is None)):
        return None
    size = os.fstat(raw.fileno()).st_size
    if size > LARGEST:
        return Flaw("too long", f"holds {size} bytes, wanted at most {LARGEST} of a compressed recording")
    return mp3.frames(bytes_at(raw, 0)) if is_mp3 else ogg.pages(bytes_at(raw, 0))
