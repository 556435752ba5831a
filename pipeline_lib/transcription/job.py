"""Transcription in a worker: recordings and settings; the worker loads the engine for itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import pyarrow as pa

from pipeline_lib.params.machine import Device
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.tables.segments import Recording
from pipeline_lib.transcription.recognition import Engine, Recognizer


@dataclass(frozen=True)
class TranscriptionJob:
    """Transcription of rows of a manifest.

    Attributes:
        settings: engine and options
        recordings: every utterance's file or part of one; None where it has none, whose row is never transcribed
        ids: every utterance's identifier
        device: auto, cpu, cuda or mps
        make: loads the engine; for workers a function of a module
    """

    settings: TranscriptionSettings
    recordings: list[Recording | None]
    ids: list[str]
    device: Device
    make: Callable[[TranscriptionSettings], Engine]

    def recognizer(self) -> Recognizer:
        """Return a recogniser whose engine is not loaded yet."""
        return Recognizer(self.settings, lambda: self.make(self.settings))

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the engine and return the function that transcribes rows."""
        recognizer = self.recognizer()
        recognizer.load()
        return partial(self.transcribe, recognizer)

    def transcribe(self, recognizer: Recognizer, rows: list[int]) -> pa.Table:
        """Return the ASR transcripts of some rows.

        Args:
            recognizer: with its engine
            rows: of the manifest, all with a recording

        Returns:
            columns ``row`` and ``text``, with the engine's device and precision in the metadata
        """
        texts = recognizer.texts([cast(Recording, self.recordings[row]) for row in rows])
        table = pa.table({"row": pa.array(rows, pa.int64()), "text": pa.array(texts, pa.string())})
        return recognizer.origin.mark(table)
