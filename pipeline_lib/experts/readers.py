"""Readers of one modality of many utterances: from memory, or decoded from recordings."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.tables.segments import Recording, decode

BYTES_PER_S = 4 * SAMPLE_RATE


class Reader:
    """Reader of one modality whose parts are in memory; a part has no chunks.

    Attributes:
        parts: one a row, None where the utterance lacks the modality
        lengths: in the modality's unit, float64, shape ``(n,)``
        content: identifies each part, as JSON can hold it; for fingerprints
    """

    def __init__(self, parts: Sequence[Any], lengths: np.ndarray, content: Sequence[Any] = ()) -> None:
        """Take the parts.

        Args:
            parts: one a row, None where there is none
            lengths: in the modality's unit, shape ``(n,)``
            content: one a row
        """
        self.parts, self.lengths, self.content = parts, np.asarray(lengths, dtype=np.float64), content

    @property
    def present(self) -> np.ndarray:
        """Which utterances have the modality, bool, shape ``(n,)``."""
        return np.array([part is not None for part in self.parts], dtype=bool)

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> Any:
        """Return the whole part, None where there is none.

        Args:
            row: number of the utterance
            start_s: ignored
            duration_s: ignored
        """
        return self.parts[row]

    def fitted(self, encoder: Any) -> Self:
        """Return a reader whose parts the encoder can read."""
        return self

    def cache(self, rows: np.ndarray, limit_gb: float) -> bool:
        """Cache rows in memory where they fit; return whether they are in memory.

        Args:
            rows: numbers of utterances, shape ``(n_rows,)``
            limit_gb: 10^9 bytes
        """
        return True

    def without_cache(self) -> Self:
        """Return a reader to be sent to a worker: without what is cached in memory or identifies the content."""
        return type(self)(self.parts, self.lengths)


class Recordings(Reader):
    """Waveforms, decoded when they are needed, or cached in memory."""

    def __init__(
        self,
        parts: Sequence[Recording | None],
        lengths: np.ndarray,
        content: Sequence[Any] = (),
        minimum_samples: int = 0,
    ) -> None:
        """Take the files.

        Args:
            parts: a recording or part of one a row, None where there is no audio
            lengths: in seconds, shape ``(n,)``
            content: one a row
            minimum_samples: shorter chunks are filled up with zeros
        """
        super().__init__(parts, lengths, content)
        self.minimum_samples = minimum_samples
        self.cached: np.ndarray | None = None
        self.spans: dict[int, tuple[int, int]] = {}

    def fitted(self, encoder: Any) -> Self:
        """Return a reader whose chunks are as long as the encoder's first frame at least."""
        if self.minimum_samples == encoder.minimum_samples:
            return self
        return type(self)(self.parts, self.lengths, self.content, encoder.minimum_samples)

    def without_cache(self) -> Self:
        """Return a reader to be sent to a worker: without waveforms in memory and the content's identity."""
        return type(self)(self.parts, self.lengths, (), self.minimum_samples)

    def cache(self, rows: np.ndarray, limit_gb: float) -> bool:
        """Decode the rows once and cache them where they fit into the limit; return whether they did.

        Args:
            rows: numbers of utterances that have audio, shape ``(n_rows,)``
            limit_gb: 10^9 bytes, at 4 bytes a sample
        """
        if not len(rows) or float(self.lengths[rows].sum()) * BYTES_PER_S > limit_gb * 1e9:
            return False
        waveforms = [decode(self.parts[row]) for row in rows]
        ends = np.cumsum([len(waveform) for waveform in waveforms])
        self.cached = np.concatenate(waveforms)
        self.spans = {int(row): (int(end) - len(x), int(end)) for row, end, x in zip(rows, ends, waveforms)}
        return True

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> np.ndarray | None:
        """Return a chunk, float32, 16 kHz, shape ``(n_samples,)``; None where there is no audio.

        Args:
            row: number of the utterance
            start_s: seconds from the utterance's beginning
            duration_s: in seconds; None reads to the utterance's end
        """
        if self.parts[row] is None:
            return None
        if self.cached is not None and row in self.spans:
            first, end = self.spans[row]
            start = first + round(start_s * SAMPLE_RATE)
            chunk = self.cached[
                start : end if duration_s is None else min(end, start + round(duration_s * SAMPLE_RATE))
            ]
        else:
            chunk = decode(self.parts[row], start_s, duration_s)
        if len(chunk) < self.minimum_samples:
            chunk = np.pad(chunk, (0, self.minimum_samples - len(chunk)))
        return chunk
