"""What a worker needs to transcribe: recordings and settings; it loads the engine for itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.tables.segments import Recording
from pipeline_lib.transcription.recognition import Engine, Recognizer


@dataclass(frozen=True)
class TranscriptionJob:
    """Transcribes rows of a manifest.

    Attributes:
        settings: engine and options
        recordings: every utterance's file or part of one, None where it has none, which is never read
        ids: every utterance's identifier
        device: auto, cpu, cuda or mps
        make: loads the engine; for workers a function of a module
    """

    settings: TranscriptionSettings
    recordings: list[Recording | None]
    ids: list[str]
    device: str
    make: Callable[[TranscriptionSettings], Engine]

    def listener(self) -> Recognizer:
        """Return one whose engine is not loaded yet."""
        return Recognizer(self.settings, lambda: self.make(self.settings))

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the engine and return what transcribes some rows."""
        listener = self.listener()
        listener.load()
        return partial(self.hear, listener)

    def hear(self, listener: Recognizer, rows: list[int]) -> pa.Table:
        """Return row numbers and texts."""
        texts = listener.texts([self.recordings[row] for row in rows])
        return pa.table({"row": pa.array(rows, pa.int64()), "text": pa.array(texts, pa.string())})
