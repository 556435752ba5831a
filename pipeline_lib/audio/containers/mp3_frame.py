"""The header of an MPEG audio frame: version, layer, rate, and how long the frame is (ISO 11172-3 and 13818-3)."""

from functools import lru_cache
from typing import NamedTuple

_HZ = (44_100, 48_000, 32_000)  # MPEG-1; MPEG-2 has half, MPEG-2.5 a quarter of them
_KBITS = {  # a second, by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
LARGEST_FREE = 8_192  # bytes of a frame of free format


class Form(NamedTuple):
    """What stays the same in all frames of a stream.

    Attributes:
        version: bits of the header, 3 for MPEG-1, 2 for MPEG-2, 0 for MPEG-2.5
        layer: 1, 2 or 3
        rate: Hz
        mono: whether there is one channel
        free: whether frames declare no bit rate
    """

    version: int
    layer: int
    rate: int
    mono: bool
    free: bool

    @property
    def n_samples(self) -> int:
        """Samples of each channel in a frame."""
        return {1: 384, 2: 1152, 3: 1152 if self.version == 3 else 576}[self.layer]

    @property
    def side_bytes(self) -> int:
        """Bytes of side information in a frame of layer III, behind which a Xing or Info tag stands."""
        return {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[self.version == 3, self.mono]

    def __str__(self) -> str:
        version = {3: "1", 2: "2", 0: "2.5"}[self.version]
        channels = "1 channel" if self.mono else "2 channels"
        return f"MPEG-{version} layer {'I' * self.layer}, {self.rate} Hz, {channels}"


@lru_cache(1024)
def form(head: bytes) -> Form | None:
    """Return the form of the frame that begins with these 4 bytes; None where none begins."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits_index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits_index == 15 or rate_index == 3:
        return None
    return Form(version, layer, _HZ[rate_index] >> {3: 0, 2: 1, 0: 2}[version], head[3] >> 6 == 3, kbits_index == 0)


@lru_cache(1024)
def n_bytes(head: bytes, of: Form, free_bytes: int) -> int:
    """Return a frame's length in bytes.

    Args:
        head: its first 4 bytes
        of: its form
        free_bytes: length of a frame of free format without padding
    """
    slot = 4 if of.layer == 1 else 1
    padding = slot * (head[2] >> 1 & 1)
    if of.free:
        return free_bytes + padding
    kbits = _KBITS[of.version == 3, of.layer][head[2] >> 4]
    return of.n_samples // 8 // slot * 1000 * kbits // of.rate * slot + padding
