"""Sound that can be decoded from front to back only, the last of it buffered: chunk after chunk costs one pass."""

from collections import deque

import numpy as np

from pipeline_lib.audio.containers.decoder import Decoder

_LOOKBACK = 1 << 21  # samples, 8 MB: two minutes of one channel at 16 kHz, which chunks that overlap look back into


class Cursor:
    """A decoder that goes forwards, and back into what it made last.

    Attributes:
        position: frames decoded so far
        next_frame: the frame that is read next
    """

    def __init__(self, file: Decoder) -> None:
        self.file = file
        self.position = self.next_frame = 0
        self._blocks: deque[np.ndarray] = deque()
        self._buffered = 0  # frames

    def reaches(self, begin: int) -> bool:
        """Return whether a frame lies ahead, or among those that are buffered."""
        return begin >= self.position - self._buffered

    def go_to(self, begin: int) -> int:
        """Go to a frame that it reaches, or as near in front of it as without decoding; return that frame."""
        self.next_frame = min(begin, self.position)
        return self.next_frame

    def read(self, n_frames: int) -> np.ndarray:
        """Return the next frames, at most so many, float32, shape ``(n_frames, channels)``; none at the end."""
        start = self.position - self._buffered
        for block in self._blocks:
            if self.next_frame < start + len(block):
                made = block[self.next_frame - start :][:n_frames]
                self.next_frame += len(made)
                return made
            start += len(block)
        made = self.file.read(n_frames, dtype="float32", always_2d=True)
        self.position = self.next_frame = self.position + len(made)
        if len(made):
            self._blocks.append(made)
            self._buffered += len(made)
        while len(self._blocks) > 1 and (self._buffered - len(self._blocks[0])) * made.shape[1] >= _LOOKBACK:
            self._buffered -= len(self._blocks.popleft())
        return made

    def close(self) -> None:
        """Close the decoder."""
        self.file.close()
