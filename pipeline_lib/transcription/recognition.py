"""Recognition of recordings with one engine: silence skipped, long audio cut, the batch halved once if memory is short.

An engine's contract is ``transcribe(waveforms) -> list[str]``, same length and order; a batch that does not fit raises
MemoryError.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.params.machine import Device
from pipeline_lib.params.transcription import CanarySettings, TranscriptionSettings, WhisperSettings
from pipeline_lib.shards.batches import Halving, ahead, size_on
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
    _wait_passively()
    match settings.engine:
        case "canary":
            from pipeline_lib.transcription.canary import Canary

            return Canary(settings.canary, device)
        case "whisper":
            from pipeline_lib.transcription.whisper import Whisper

            return Whisper(settings.whisper, device)
        case other:
            raise ValueError(f"engine {other!r} transcribes no audio, expected 'canary' or 'whisper'")


def kind_of(device: Device) -> str:
    """Return the kind of device that an engine would run on here: cpu, cuda or mps.

    Args:
        device: of machine.yaml

    Raises:
        InputError: this machine has none of that kind
    """
    _wait_passively()
    from pipeline_lib.encoders.device import pick

    return pick(device).type


def _wait_passively() -> None:
    """Set what torch reads when first imported: threads that spin make a busy machine several times slower."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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
        self.halving = Halving()  # engines give back a GPU's memory themselves
        self.transcribed_s = self.spent_s = 0.0
        self._make = make
        self._engine: Engine | None = None

    @property
    def origin(self) -> Origin:
        """Device and precision of the engine; none before it is loaded."""
        return NO_MODEL if self._engine is None else self._engine.origin

    @property
    def batch_size(self) -> int:
        """Recordings at once on the engine's device."""
        return size_on(self.origin.device, self.options.batch_size)

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
        size = self.batch_size
        batches = [recordings[i : i + size] for i in range(0, len(recordings), size)]
        texts = [text for _, waveforms in ahead(batches, _decoded, 1) for text in self._texts(waveforms)]
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
        engine, section = self._engine, f"transcription.{self.engine_name}"
        assert engine is not None  # texts() loads it

        def first() -> Sequence[np.ndarray]:
            return self.halving.parts(pieces)[0]

        def what() -> str:
            seconds = max(map(len, first())) / SAMPLE_RATE
            return f"{len(first())} recordings of up to {seconds:.1f} s in {section}"

        shorter = f"{section}.max_chunk_s (now {self.options.max_chunk_s:g})"
        remedy = f"lower {section}.batch_size (now {self.batch_size}) or {shorter}"
        if self.batch_size == 1:
            remedy = f"lower {shorter}"

        def compute() -> list[str]:
            return [text for part in self.halving.parts(pieces) for text in engine.transcribe(part)]

        return self.halving.run(compute, lambda: len(first()), what, remedy)


def _decoded(recordings: Sequence[Recording]) -> list[np.ndarray]:
    return [decode(recording) for recording in recordings]
