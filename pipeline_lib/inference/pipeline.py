"""A trained system in memory: recordings in, posteriors and attributes out.

.. code-block:: python

    from pipeline_lib import Pipeline

    pipeline = Pipeline.load("emotion.bundle")
    print(pipeline.predict("call.wav").posterior)
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from pipeline_lib.bundle import format
from pipeline_lib.errors import InputError
from pipeline_lib.inference import outcome
from pipeline_lib.inference.loaded import Models
from pipeline_lib.inference.memory import MemoryRun, manifest_of
from pipeline_lib.inference.opening import system_of
from pipeline_lib.inference.prediction import Audio, Failure, Prediction, Recording
from pipeline_lib.inference.waveforms import seconds, waveform_of
from pipeline_lib.params.machine import Device

Segmentation = Literal["none", "vad"] | float
BATCH_SIZE = 16


@dataclass(frozen=True)
class _Decoded:
    """A recording with its waveform, 16 kHz, shape ``(n_samples,)``, None where it has text alone."""

    recording: Recording
    waveform: np.ndarray | None


class Pipeline:
    """A trained system whose models stay in memory between calls; its methods may be called from several threads.

    The same recording gives the same numbers whatever is predicted with it, but for rounding (1e-5), and those of the
    stages that the system was trained by.
    """

    def __init__(self, models: Models) -> None:
        """Take the models; ``load`` reads them."""
        self._models, self._lock = models, threading.RLock()
        first = models.fitted()[0]
        self._labels, self._attributes = first.labels, first.attribute_names

    @classmethod
    def load(cls, path: Path | str, device: Device = "cpu", encoders: Path | str | None = None) -> Self:
        """Return the system of a bundle, or of a project whose stages have run.

        A recogniser is loaded with the first recording that needs it.

        Args:
            path: folder of the bundle or of the project
            device: where models run: auto, cpu, cuda or mps
            encoders: folder in which checkpoints that are no part of the bundle lie by their names; None for the
                bundle's own folder ``encoders``

        Raises:
            InputError: it is neither, or is damaged, incomplete or of newer code, or a checkpoint cannot be had
        """
        return cls(Models(system_of(Path(path), device, None if encoders is None else Path(encoders))))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the posterior, in order; none where the system predicts attributes alone."""
        return self._labels

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes, in order."""
        return self._attributes

    @property
    def record(self) -> dict[str, Any]:
        """The record of bundle.json, empty of a project."""
        return dict(getattr(self._models.system, "record", {}))

    @property
    def digest(self) -> str | None:
        """SHA-256 that identifies a bundle with all of its files, None of a project."""
        return format.digest_of(self._models.system.folder) if self.record else None

    @property
    def longest_s(self) -> float | None:
        """Longest audio that every expert reads whole, in seconds; None where no expert reads audio."""
        lengths = [each.max_s for each in self._models.settings.values() if "audio" in each.modalities]
        return min(lengths, default=None)

    def predict(
        self,
        audio: Audio | None,
        text: str | None = None,
        prior: Mapping[str, float] | None = None,
        segment: Segmentation = "none",
    ) -> Prediction:
        """Return what the system predicts of one recording.

        Args:
            audio: path, or samples with their rate, see ``Recording``; None predicts a text alone
            text: the words, in place of a transcript
            prior: share of every label where the recording comes from, sums to 1; None leaves the posterior's own
            segment: ``none`` predicts the recording whole; ``vad`` and a length in seconds cut it, and the prediction
                is the mean of the segments', weighted by their durations

        Raises:
            InputError: the recording cannot be read, or lacks what the system needs
        """
        name = str(audio) if isinstance(audio, (str, Path)) else "recording"
        recording = Recording(name, audio, text)
        if segment == "none":
            return _whole(self._results([recording], prior)[0])
        return self._in_segments(recording, prior, segment)

    def predict_many(
        self,
        recordings: Iterable[Recording],
        batch_size: int = BATCH_SIZE,
        prior: Mapping[str, float] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Yield what the system predicts of each recording, in their order; of one that cannot be a ``Failure``.

        Args:
            recordings: whole ones or parts; a batch of them is in memory
            batch_size: recordings that go through the models together; no prediction depends on it beyond 1e-5
            prior: see ``predict``

        Raises:
            InputError: ``batch_size`` or ``prior`` is wrong
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}, expected at least 1")
        waiting = iter(recordings)
        while batch := [*islice(waiting, batch_size)]:
            yield from self._results(batch, prior)

    def _results(
        self, recordings: Sequence[Recording], prior: Mapping[str, float] | None
    ) -> list[Prediction | Failure]:
        """Return what is predicted of each recording, in their order."""
        target = None if prior is None else outcome.target_prior(prior, self._labels)
        results: dict[int, Prediction | Failure] = {}
        decoded: dict[int, _Decoded] = {}
        for number, recording in enumerate(recordings):
            try:
                self._check(recording)
                decoded[number] = _Decoded(recording, waveform_of(recording))
            except InputError as error:
                results[number] = Failure(recording.id, str(error))
        with self._lock:
            results |= zip(decoded, self._predicted([*decoded.values()], target), strict=True)
        return [results[number] for number in range(len(recordings))]

    def _check(self, recording: Recording) -> None:
        """Refuse a recording without anything to read, or of a fold that the system has not."""
        if recording.audio is None and recording.text is None:
            raise InputError(f"{recording.id!r} has neither audio nor text, expected one of them")
        number = self._models.system.n_folds
        if recording.fold is not None and not 0 <= recording.fold < number:
            raise InputError(f"{recording.id!r} is of fold {recording.fold}, and the system has {number} folds")

    def _predicted(self, decoded: list[_Decoded], target: np.ndarray | None) -> list[Prediction | Failure]:
        """Return the predictions of a batch; where one cannot be predicted, of each by itself."""
        if not decoded:
            return []
        try:
            run = self._applied(decoded)
            fused = run.fused()
        except InputError as error:
            if len(decoded) == 1:
                return [Failure(decoded[0].recording.id, str(error))]
            return [result for each in decoded for result in self._predicted([each], target)]
        if target is not None:
            fused = outcome.under(fused, target)
        outcomes = outcome.Outcomes(self._models, run, fused)
        return [outcomes.of(row, each.recording, each.waveform) for row, each in enumerate(decoded)]

    def _applied(self, decoded: list[_Decoded]) -> MemoryRun:
        """Return the system's application to a batch, whose texts are recognised where none is given."""
        texts = [each.recording.text for each in decoded]
        manifest = manifest_of([each.waveform for each in decoded], texts, [each.recording.fold for each in decoded])
        transcripts, transcriber = list(texts), self._models.transcriber
        if transcriber is not None:
            rows = [row for row, each in enumerate(decoded) if texts[row] is None and each.waveform is not None]
            waveforms = [waveform for row in rows if (waveform := decoded[row].waveform) is not None]
            for row, text in zip(rows, transcriber.of_waveforms(waveforms), strict=True):
                transcripts[row] = text
        return MemoryRun(self._models, manifest, [each.waveform for each in decoded], transcripts)

    def _in_segments(
        self, recording: Recording, prior: Mapping[str, float] | None, segment: Segmentation
    ) -> Prediction:
        from pipeline_lib.inference.segmentation import cut

        assert segment != "none"
        waveform = waveform_of(recording)
        if waveform is None or recording.text is not None:
            raise InputError(f"{recording.id!r}: segment is {segment!r}, expected audio alone, without text")
        parts = cut(waveform, segment, self.longest_s)
        if not parts:
            raise InputError(f"{recording.id!r}: no speech was detected in its {seconds(waveform):.1f} s")
        audio = (waveform, outcome.SAMPLE_RATE)
        cuts = [replace(recording, audio=audio, start=start, end=end) for start, end in parts]
        return outcome.mean_of([_whole(result) for result in self.predict_many(cuts, prior=prior)])


def _whole(result: Prediction | Failure) -> Prediction:
    if isinstance(result, Failure):
        raise InputError(result.reason)
    return result
