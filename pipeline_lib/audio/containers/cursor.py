"""Sound that can be decoded from front to back only, and the last of it kept: chunk after chunk costs one pass."""

from collections import deque

import numpy as np

from pipeline_lib.audio.containers.decoder import Decoder

_KEPT = 1 << 21  # samples, 8 MB: two minutes of one channel at 16 kHz, which chunks that overlap look back into


class Cursor:
    """A decoder that goes forwards, and back into what it made last.

    Attributes:
        position: frames decoded so far
        place: the frame that is read next
    """

    def __init__(self, file: Decoder) -> None:
        self.file = file
        self.position = self.place = 0
        self._blocks: deque[np.ndarray] = deque()
        self._kept = 0  # frames

    def reaches(self, begin: int) -> bool:
        """Return whether a frame lies ahead, or among those that are kept."""
        return begin >= self.position - self._kept

    def go_to(self, begin: int) -> int:
        """Go to a frame that it reaches, or as near in front of it as without decoding; return where that is."""
        self.place = min(begin, self.position)
        return self.place

    def read(self, n_frames: int) -> np.ndarray:
        """Return the next frames, at most so many, float32, shape ``(n_frames, channels)``; none at the end."""
        start = self.position - self._kept
        for block in self._blocks:
            if self.place < start + len(block):
                made = block[self.place - start :][:n_frames]
                self.place += len(made)
                return made
            start += len(block)
        made = self.file.read(n_frames, dtype="float32", always_2d=True)
        self.position = self.place = self.position + len(made)
        if len(made):
            self._blocks.append(made)
            self._kept += len(made)
        while len(self._blocks) > 1 and (self._kept - len(self._blocks[0])) * made.shape[1] >= _KEPT:
            self._kept -= len(self._blocks.popleft())
        return made

    def close(self) -> None:
        """Close the decoder."""
        self.file.close()
