"""Readers of a row of the manifest: to a waveform, a text, or both as far as the utterance has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.params.branches import Combination
from pipeline_lib.tables.segments import Recording, decode

Reader = Callable[[int, float, float | None], Any]  # row, start, duration to what the network's encoder prepares
BYTES_PER_S = 4 * SAMPLE_RATE


class Recordings:
    """Waveforms of a corpus's rows, decoded when they are needed, or cached in memory."""

    def __init__(self, paths: Sequence[Recording | None], minimum_samples: int) -> None:
        """Take the files.

        Args:
            paths: a recording or part of one for each row of the manifest, None where there is no audio, which is never
                read
            minimum_samples: shorter chunks are filled up with zeros
        """
        self.paths, self.minimum_samples = paths, minimum_samples
        self.cached: np.ndarray | None = None
        self.spans: dict[int, tuple[int, int]] = {}

    def cache(self, rows: Sequence[int] | np.ndarray, durations_s: np.ndarray, limit_gb: float) -> bool:
        """Decode the rows once and cache them where they fit into the limit; return whether they did.

        Args:
            rows: of the manifest, shape ``(n_rows,)``
            durations_s: of all its rows, shape ``(n,)``
            limit_gb: 10^9 bytes, at 4 bytes a sample
        """
        if not len(rows) or float(durations_s[rows].sum()) * BYTES_PER_S > limit_gb * 1e9:
            return False
        waveforms = [decode(self._recording(row)) for row in rows]
        ends = np.cumsum([len(waveform) for waveform in waveforms])
        self.cached = np.concatenate(waveforms)
        self.spans = {int(row): (int(end) - len(x), int(end)) for row, end, x in zip(rows, ends, waveforms)}
        return True

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> np.ndarray:
        """Return a chunk, float32, 16 kHz, shape ``(n_samples,)``.

        Args:
            row: of the manifest
            start_s: seconds from the utterance's beginning
            duration_s: in seconds; None reads to the utterance's end
        """
        if self.cached is not None and row in self.spans:
            first, end = self.spans[row]
            start = first + round(start_s * SAMPLE_RATE)
            chunk = self.cached[
                start : end if duration_s is None else min(end, start + round(duration_s * SAMPLE_RATE))
            ]
        else:
            chunk = decode(self._recording(row), start_s, duration_s)
        if len(chunk) < self.minimum_samples:
            chunk = np.pad(chunk, (0, self.minimum_samples - len(chunk)))
        return chunk

    def _recording(self, row: int) -> Recording:
        recording = self.paths[row]
        if recording is None:
            raise ValueError(f"row {row} of the manifest has no audio, expected rows with audio alone")
        return recording


class Texts:
    """Texts of a corpus's rows; a text has no chunks."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.texts = texts

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> str | None:
        """Return the whole text.

        Args:
            row: of the manifest
            start_s: ignored
            duration_s: ignored
        """
        return self.texts[row]


@dataclass(frozen=True)
class Pairs:
    """Waveform and text of a corpus's rows, None for a modality that is missing or not among ``modalities``.

    Attributes:
        recordings: whose paths are None where there is no audio
        texts: None where there is no text; an empty one counts as none
        modalities: those that are returned; the other one is None
        cache: by modality and row an encoder's hidden states, float16, returned in place of the encoder's input
    """

    recordings: Recordings
    texts: Sequence[str | None]
    modalities: Combination = "both"
    cache: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> tuple[Any, Any]:
        """Return a chunk of the audio and the whole text; cached hidden states in place of either.

        Args:
            row: of the manifest
            start_s: seconds from the utterance's beginning
            duration_s: in seconds; None reads to the utterance's end
        """
        return self._audio(row, start_s, duration_s), self._text(row)

    def with_modalities(self, modalities: Combination) -> Self:
        """Return a reader of these modalities alone."""
        return replace(self, modalities=modalities)

    def without_cache(self) -> Self:
        """Return the same reader without waveforms and hidden states in memory."""
        recordings = Recordings(self.recordings.paths, self.recordings.minimum_samples)
        return replace(self, recordings=recordings, cache={})

    def _audio(self, row: int, start_s: float, duration_s: float | None) -> Any:
        if self.modalities == "text" or self.recordings.paths[row] is None:
            return None
        cached = self.cache.get("audio", {})
        return cached[row] if row in cached else self.recordings(row, start_s, duration_s)

    def _text(self, row: int) -> Any:
        if self.modalities == "audio" or not has_words(self.texts[row]):
            return None
        cached = self.cache.get("text", {})
        return cached[row] if row in cached else self.texts[row]


def has_words(text: str | None) -> bool:
    """Return whether there is anything but blanks; a recognizer's empty transcript is no text."""
    return text is not None and bool(text.strip())
