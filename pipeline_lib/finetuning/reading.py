"""What an encoder reads of a row of the manifest: a waveform, a text, or both as far as the utterance has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.params.branches import Combination
from pipeline_lib.tables.segments import Recording, decode

Read = Callable[[int, float, float | None], Any]  # row, start, duration to what the network's encoder prepares
BYTES_PER_S = 4 * SAMPLE_RATE


class Recordings:
    """Waveforms of a corpus's rows, decoded when they are needed, or kept in memory."""

    def __init__(self, paths: Sequence[Recording | None], minimum_samples: int) -> None:
        """Take the files.

        Args:
            paths: a recording or part of one for each row of the manifest, None where there is no audio, which is never
                read
            minimum_samples: shorter chunks are filled up with zeros
        """
        self.paths, self.minimum_samples = paths, minimum_samples
        self.kept: np.ndarray | None = None
        self.places: dict[int, tuple[int, int]] = {}

    def keep(self, rows: Sequence[int], durations_s: np.ndarray, limit_gb: float) -> bool:
        """Decode the rows once and keep them, where they fit into the limit; return whether they did."""
        if not len(rows) or float(durations_s[rows].sum()) * BYTES_PER_S > limit_gb * 1e9:
            return False
        waveforms = [decode(self.paths[row]) for row in rows]
        ends = np.cumsum([len(each) for each in waveforms])
        self.kept = np.concatenate(waveforms)
        self.places = {int(row): (int(end) - len(x), int(end)) for row, end, x in zip(rows, ends, waveforms)}
        return True

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> np.ndarray:
        """Return a chunk, float32, 16 kHz, shape ``(n_samples,)``; duration None reads to the utterance's end."""
        if self.kept is not None and row in self.places:
            first, end = self.places[row]
            start = first + round(start_s * SAMPLE_RATE)
            chunk = self.kept[start : end if duration_s is None else min(end, start + round(duration_s * SAMPLE_RATE))]
        else:
            chunk = decode(self.paths[row], start_s, duration_s)
        if len(chunk) < self.minimum_samples:
            chunk = np.pad(chunk, (0, self.minimum_samples - len(chunk)))
        return chunk


class Texts:
    """Texts of a corpus's rows; a text has no chunks."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> str:
        """Return the whole text."""
        return self.texts[row]


@dataclass(frozen=True)
class Pairs:
    """Waveform and text of a corpus's rows, None in the place of what an utterance has not, or is not to show.

    Attributes:
        recordings: whose paths are None where there is no audio
        texts: None where there is no text; an empty one counts as none
        shown: what of an utterance is shown
        kept: by modality and row an encoder's states, float16, in the place of what the encoder reads
    """

    recordings: Recordings
    texts: Sequence[str | None]
    shown: Combination = "both"
    kept: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> tuple[Any, Any]:
        """Return a chunk of the audio and the whole text; what is kept is returned as it was kept."""
        return self._audio(row, start_s, duration_s), self._text(row)

    def showing(self, combination: Combination) -> Self:
        """Return what shows only that of each utterance."""
        return replace(self, shown=combination)

    def plain(self) -> Self:
        """Return the same without anything that is kept in memory."""
        recordings = Recordings(self.recordings.paths, self.recordings.minimum_samples)
        return replace(self, recordings=recordings, kept={})

    def _audio(self, row: int, start_s: float, duration_s: float | None) -> Any:
        if self.shown == "text" or self.recordings.paths[row] is None:
            return None
        kept = self.kept.get("audio", {})
        return kept[row] if row in kept else self.recordings(row, start_s, duration_s)

    def _text(self, row: int) -> Any:
        if self.shown == "audio" or not has_words(self.texts[row]):
            return None
        kept = self.kept.get("text", {})
        return kept[row] if row in kept else self.texts[row]


def has_words(text: str | None) -> bool:
    """Return whether there is anything but blanks; a recognizer's empty transcript is no text."""
    return text is not None and bool(text.strip())
