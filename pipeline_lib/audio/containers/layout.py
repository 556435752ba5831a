"""Where the sound of a container lies, and which channel is the centre."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline_lib.audio.containers.span import Sound

_MASK, _TAG_USES_MASK = 0x4, 0x10000  # the centre's bit in a mask of loudspeakers; Core Audio's "see the mask"
_CORE_AUDIO = {  # Core Audio's layout tags: where the centre stands
    **{113: 2, 114: 0, 115: 2, 116: 0},  # MPEG 3.0 and 4.0, A and B
    **{117: 2, 118: 4, 119: 1, 120: 0},  # MPEG 5.0 A to D
    **{121: 2, 122: 4, 123: 1, 124: 0},  # MPEG 5.1 A to D
    **{125: 2, 126: 2, 127: 0, 128: 2},  # MPEG 6.1 A, 7.1 A to C
}


@dataclass(frozen=True)
class Layout:
    """A container that was inspected.

    Attributes:
        container: its name
        sounds: the stretches of sound in it, in order; all are decoded, one behind the other
        centre: index of the centre among the channels, where the container's order of channels has one
        verify: tests of every byte, for a recording that is read whole; raises ``Defect``
    """

    container: str
    sounds: tuple[Sound, ...]
    centre: int | None = None
    verify: Callable[[], None] = lambda: None


def by_count(channels: int, counts: tuple[int, ...] = (6, 8), index: int = 2) -> int | None:
    """Return the centre of an order that depends on the number of channels alone: L R C ... of 5.1 and 7.1.

    Args:
        channels: number of channels
        counts: numbers of channels that have a centre
        index: the centre's index among them
    """
    return index if channels in counts else None


def by_mask(mask: int, channels: int) -> int | None:
    """Return the centre in a WAVE mask of loudspeakers, whose bits are in the order of the channels.

    Args:
        mask: one bit a loudspeaker, ``0x4`` for the centre
        channels: number of channels; fewer than 3 have no centre
    """
    index = (mask & (_MASK - 1)).bit_count()
    return index if mask & _MASK and channels >= 3 and index < channels else None


def by_tag(tag: int, mask: int, channels: int) -> int | None:
    """Return the centre in a ``chan`` or ``CHAN`` chunk of Core Audio.

    Args:
        tag: the layout's number, and its number of channels in the lower 16 bits
        mask: of loudspeakers, for the tag that refers to it
        channels: number of channels; a tag of another number is not used
    """
    if tag == _TAG_USES_MASK:
        return by_mask(mask, channels)
    index = _CORE_AUDIO.get(tag >> 16)
    return index if index is not None and tag & 0xFFFF == channels else None
