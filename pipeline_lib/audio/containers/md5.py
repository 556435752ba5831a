"""The MD5 of a FLAC's samples, which its encoder declares."""

import hashlib

import numpy as np

from pipeline_lib.audio.containers import flac
from pipeline_lib.audio.containers.decoder import Decoder
from pipeline_lib.audio.containers.span import Span

_WIDTHS = {"PCM_S8": ("int16", 1), "PCM_16": ("int16", 2), "PCM_24": ("int32", 3)}


class Md5:
    """The checksum of samples, little-endian and of the width that the file declares, gathered while they are read.

    Args:
        span: a FLAC, or a file of another format, which declares no checksum
        file: its decoder
    """

    def __init__(self, span: Span, file: Decoder) -> None:
        self.file = file
        self.declared = flac.md5(span) if file.subtype in _WIDTHS else None
        self.digest = hashlib.md5(usedforsecurity=False)

    def read(self, n_frames: int) -> np.ndarray:
        """Return the next frames, float32, shape ``(n_frames, channels)``."""
        if self.declared is None:
            return self.file.read(n_frames, dtype="float32", always_2d=True)
        kind, width = _WIDTHS[self.file.subtype]
        block = self.file.read(n_frames, dtype=kind, always_2d=True)  # in the upper bytes of the integer
        size = block.dtype.itemsize
        self.digest.update(block.astype(f"<i{size}").view(np.uint8).reshape(-1, size)[:, size - width :].tobytes())
        return block.astype(np.float32) / np.float32(1 << 8 * size - 1)  # exact: at most 24 bits

    def fits(self) -> bool:
        """Return whether the samples read have the declared checksum; true where none is declared."""
        return self.declared is None or self.digest.digest() == self.declared
