"""MP3: each frame begins where the last ends; a LAME tag counts the frames and has a CRC-16 of all of them."""

from functools import cache

import numpy as np

from pipeline_lib.containers.flaw import Flaw, behind_id3
from pipeline_lib.containers.riff import PLAYERS_TAGS

_RATES = (44_100, 48_000, 32_000)  # Hz; MPEG 2 has half, MPEG 2.5 a quarter of them
_KBITS = (  # a second; MPEG 1 and MPEG 2
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_PART = 1 << 20  # bytes


def frames(data: bytes) -> Flaw | None:
    """Walk the frames of layer III; others, and free format, are left to the decoder."""
    at = 0
    while n_bytes := behind_id3(data[at : at + 10]):
        at += n_bytes
    first = data[at : at + 4]
    info: dict[str, int] | None = None
    places: list[int] = []  # of the frames with sound
    while at + 4 <= len(data) and not data.startswith(PLAYERS_TAGS, at):
        n_bytes = _frame(data[at : at + 4], first)
        if n_bytes is None:
            return None
        if n_bytes == 0:
            if not data[at:].strip(b"\0"):
                break
            return Flaw("damaged", f"has no frame at byte {at}, where the last one ends, or one of another rate")
        if at + n_bytes > len(data):
            return Flaw("truncated", f"holds {len(data)} bytes, its last frame needs {at + n_bytes}")
        is_first = info is None
        info = _info(data[at : at + n_bytes]) if info is None else info
        if not (is_first and info):
            places.append(at)
        at += n_bytes
    return _account(data, places, at, info or {})


def crc16(data: bytes) -> int:
    """Return the CRC-16 of an MP3's LAME tag (polynomial 0x8005, reflected, from 0).

    Neighbours are joined pair by pair, crc(A B) = crc(A 0...0) xor crc(B): a few array operations a mebibyte. What came
    before a part is carried in by its first two bytes; the odd part is the first, since zeros in front change nothing.
    """
    found, head = 0, len(data) % _PART
    for start in [0, *range(head, len(data), _PART)] if head else range(0, len(data), _PART):
        part = bytearray(data[start : start + _PART] if start or not head else data[:head])
        if start:
            part[:2] = bytes([part[0] ^ found & 255, part[1] ^ found >> 8])
        found = _crc16_of(np.frombuffer(part, np.uint8))
    return found


def _crc16_of(data: np.ndarray) -> int:
    of_byte, behind = _crc16_tables()
    joined = of_byte[data]
    for level in behind:
        if len(joined) <= 1:
            break
        if len(joined) % 2:
            joined = np.concatenate([joined[:1] * 0, joined])
        joined = level[joined[0::2]] ^ joined[1::2]
    return int(joined[0]) if len(joined) else 0


@cache
def _crc16_tables() -> tuple[np.ndarray, list[np.ndarray]]:
    """Return each byte's CRC, and what a CRC becomes when 1, 2, 4 ... up to ``_PART`` / 2 zeros follow."""
    of_byte = np.arange(256, dtype=np.uint16)
    for _ in range(8):
        of_byte = (of_byte >> 1) ^ np.where(of_byte & 1, 0xA001, 0).astype(np.uint16)
    every = np.arange(1 << 16)
    behind = [(every >> 8).astype(np.uint16) ^ of_byte[every & 255]]
    for _ in range(19):
        behind.append(behind[-1][behind[-1]])
    return of_byte, behind


def _frame(head: bytes, first: bytes) -> int | None:
    """Return a frame's length in bytes, 0 where there is none like the first, None where this does not apply."""
    word = int.from_bytes(first, "big")
    version, layer, index, rate_index = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if head == first and (layer != 1 or version == 1 or index in (0, 15) or rate_index == 3):
        return None
    # sync, version, layer and rate stay; mono stays mono
    if (int.from_bytes(head, "big") ^ word) & 0xFFFE0C00 or (head[3] >> 6 == 3) != (first[3] >> 6 == 3):
        return 0
    index = head[2] >> 4
    if index in (0, 15):
        return 0
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    return (144_000 if version == 3 else 72_000) * _KBITS[version != 3][index] // rate + (head[2] >> 1 & 1)


def _info(frame: bytes) -> dict[str, int]:
    """Return what a first frame without sound says of the others; nothing where it is a frame of sound.

    ``frames``: how many; ``whole``: whether it matches its own checksum; ``bytes`` and ``crc`` of the others.
    """
    mpeg1, mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    aside = 17 if mpeg1 == mono else 32 if mpeg1 else 9
    tag = frame[4 + aside :]
    if tag[:4] not in (b"Xing", b"Info"):
        encoder = tag[120:124] in (b"LAME", b"Lavc", b"Lavf")  # where its name stands when all of the tag is there
        lost = encoder or (not any(frame[4 : 4 + aside]) and b"LAME" in tag)
        return {"whole": False} if lost else {}
    flags = int.from_bytes(tag[4:8], "big")
    said = {"whole": True} | ({"frames": int.from_bytes(tag[8:12], "big")} if flags & 1 else {})
    own = len(frame) - len(tag)
    lame = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    ext = tag[lame : lame + 36]
    if len(ext) == 36 and any(ext[34:36]):
        said["whole"] = crc16(frame[: own + lame + 34]) == int.from_bytes(ext[34:36], "big")
        said["bytes"] = int.from_bytes(ext[28:32], "big") - len(frame)
        said["crc"] = int.from_bytes(ext[32:34], "big")
    return said


def _account(data: bytes, places: list[int], end: int, info: dict[str, int]) -> Flaw | None:
    if not info.get("whole", True):
        return Flaw("damaged", "has a first frame that does not match its checksum")
    if abs(info.get("frames", len(places)) - len(places)) > 1:  # some encoders count the first frame
        reason = "truncated" if len(places) < info["frames"] else "damaged"
        return Flaw(reason, f"holds {len(places)} frames, declares {info['frames']}")
    counted = info.get("bytes", 0)
    if places and end - places[0] >= counted > 0 and crc16(data[places[0] : places[0] + counted]) != info["crc"]:
        return Flaw("damaged", "has frames that do not match its checksum")
    return None
