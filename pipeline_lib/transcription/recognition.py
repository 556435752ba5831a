"""Recognition of recordings with one engine: silence skipped, long audio cut, the batch halved once if memory is short.

An engine's contract is ``transcribe(waveforms) -> list[str]``, same length and order; a batch that does not fit raises
MemoryError.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.errors import InputError
from pipeline_lib.params.machine import Device
from pipeline_lib.params.transcription import CanarySettings, TranscriptionSettings, WhisperSettings
from pipeline_lib.tables.origin import NO_MODEL, Origin
from pipeline_lib.tables.segments import Recording, decode
from pipeline_lib.transcription import chunks


class Engine(Protocol):
    """Speech recogniser of waveforms (mono, 16 kHz, float32, shape ``(n_samples,)``).

    Attributes:
        origin: device and precision of its forward pass
    """

    origin: Origin

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Return one text a waveform, in their order.

        Args:
            waveforms: mono, 16 kHz, float32 in [-1, 1], each of shape ``(n_samples,)``
        """
        ...


def load(settings: TranscriptionSettings, device: Device = "auto") -> Engine:
    """Return the chosen engine with its model.

    Args:
        settings: of the whole section
        device: auto, cpu, cuda or mps

    Raises:
        InputError: the checkpoint is not available
    """
    # read when torch is first imported; threads that spin while they wait make a busy machine several times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    match settings.engine:
        case "canary":
            from pipeline_lib.transcription.canary import Canary

            return Canary(settings.canary, device)
        case "whisper":
            from pipeline_lib.transcription.whisper import Whisper

            return Whisper(settings.whisper, device)
        case other:
            raise ValueError(f"engine {other!r} transcribes no audio, expected 'canary' or 'whisper'")


class Recognizer:
    """Transcription of recordings; the engine is loaded with the first.

    Attributes:
        transcribed_s: audio transcribed so far, in seconds
        spent_s: wall time it took, in seconds, loading the model left out
    """

    def __init__(self, settings: TranscriptionSettings, make: Callable[[], Engine]) -> None:
        """Take the settings; load nothing yet.

        Args:
            settings: section ``transcription``; the engine's own part gives batch size and longest chunk
            make: loads the engine
        """
        self.engine_name = settings.engine
        self.silence_dbfs = settings.silence_dbfs
        self.options: CanarySettings | WhisperSettings = getattr(settings, settings.engine)
        self.batch_size = self.options.batch_size
        self.halved = False
        self.transcribed_s = self.spent_s = 0.0
        self._make = make
        self._engine: Engine | None = None

    @property
    def origin(self) -> Origin:
        """Device and precision of the engine; none before it is loaded."""
        return NO_MODEL if self._engine is None else self._engine.origin

    def load(self) -> None:
        """Load the engine, where it is not loaded yet."""
        if self._engine is None:
            self._engine = self._make()

    def texts(self, recordings: Sequence[Recording]) -> list[str]:
        """Return one text a recording, in their order, a batch at a time.

        Args:
            recordings: files or parts of files

        Raises:
            BadAudio: a file has changed since the corpus was read
            InputError: half a batch does not fit into the device's memory
        """
        self.load()
        began = time.perf_counter()
        size = self.options.batch_size
        batches = [recordings[i : i + size] for i in range(0, len(recordings), size)]
        texts = [text for waveforms in _read_ahead(batches) for text in self._texts(waveforms)]
        self.spent_s += time.perf_counter() - began
        return texts

    def _texts(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        """Return the batch's texts; its pieces are transcribed longest first, a batch at a time."""
        pieces: list[np.ndarray] = []
        owners: list[int] = []
        for owner, waveform in enumerate(waveforms):
            self.transcribed_s += len(waveform) / SAMPLE_RATE
            for piece in chunks.cut(waveform, self.options.max_chunk_s):
                pieces.append(piece)
                owners.append(owner)
        transcripts = [""] * len(pieces)
        loud = [i for i, piece in enumerate(pieces) if not chunks.is_silent(piece, self.silence_dbfs)]
        loud.sort(key=lambda i: -len(pieces[i]))
        while loud:
            now, loud = loud[: self.batch_size], loud[self.batch_size :]
            for i, text in zip(now, self._transcribe([pieces[i] for i in now]), strict=True):
                transcripts[i] = text
        of_waveforms: list[list[str]] = [[] for _ in waveforms]
        for owner, text in zip(owners, transcripts, strict=True):
            of_waveforms[owner].append(text)
        return [chunks.join(texts) for texts in of_waveforms]

    def _transcribe(self, pieces: Sequence[np.ndarray]) -> list[str]:
        assert self._engine is not None  # texts() loads it
        try:
            return self._engine.transcribe(pieces)
        except MemoryError:
            section = f"transcription.{self.engine_name}"
            batch = f"{len(pieces)} recordings of up to {max(map(len, pieces)) / SAMPLE_RATE:.1f} s"
            if self.halved or len(pieces) == 1:
                raise InputError(
                    f"{section}: {batch} at once do not fit into memory; lower {section}.batch_size"
                    f" (now {self.options.batch_size}) or {section}.max_chunk_s (now {self.options.max_chunk_s:g})"
                ) from None
        self.halved, self.batch_size = True, -(-self.batch_size // 2)
        print(f"{section}: {batch} do not fit into memory; going on with {self.batch_size} at once", file=sys.stderr)
        middle = -(-len(pieces) // 2)
        return [*self._transcribe(pieces[:middle]), *self._transcribe(pieces[middle:])]


def _read_ahead(batches: Sequence[Sequence[Recording]]) -> Iterator[list[np.ndarray]]:
    """Yield each batch's waveforms; the next batch is decoded while this one is transcribed."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for batch in [*batches, None]:
            ready, waiting = waiting, None if batch is None else reader.submit(_decoded, batch)
            if ready is not None:
                yield ready.result()


def _decoded(recordings: Sequence[Recording]) -> list[np.ndarray]:
    return [decode(recording) for recording in recordings]
