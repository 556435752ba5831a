"""A trained system in memory: recordings in, posteriors and attributes out.

.. code-block:: python

    from pipeline_lib import Pipeline

    pipeline = Pipeline.load("emotion.bundle")
    print(pipeline.predict("call.wav").posterior)
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pipeline_lib.inference.prediction import Audio, Failure, Prediction, Recording
from pipeline_lib.params.machine import Device

Segmentation = Literal["none", "vad"] | float
BATCH_SIZE = 16


class Pipeline:
    """A trained system whose models stay in memory between calls; its methods may be called from several threads."""

    @classmethod
    def load(cls, path: Path | str, device: Device = "cpu", encoders: Path | str | None = None) -> Self:
        """Return the system of a bundle, or of a project whose stages have run.

        Args:
            path: folder of the bundle or of the project
            device: where models run: auto, cpu, cuda or mps
            encoders: folder in which checkpoints that are no part of the bundle lie by their names; None looks in what
                SER_ENCODERS names

        Raises:
            InputError: it is neither, or is damaged, incomplete or of newer code, or a checkpoint cannot be had
        """
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the posterior, in order; none where the system predicts attributes alone."""
        raise NotImplementedError

    @property
    def longest_s(self) -> float | None:
        """Longest audio that every expert reads whole, in seconds; None where none reads audio."""
        raise NotImplementedError

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
            segment: ``none`` predicts the recording whole; others cut it, and the prediction is the mean of the
                segments' weighted by their durations

        Raises:
            InputError: the recording cannot be read, or lacks what the system needs
        """
        raise NotImplementedError

    def predict_many(
        self,
        recordings: Iterable[Recording],
        batch_size: int = BATCH_SIZE,
        prior: Mapping[str, float] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Yield what the system predicts of each recording, in their order; one that cannot be read is a ``Failure``.

        Args:
            recordings: whole ones or parts; read ahead by one batch
            batch_size: recordings that go through the models together; no prediction depends on it beyond 1e-5
            prior: see ``predict``

        Raises:
            InputError: an argument is wrong, memory does not suffice, or a checkpoint cannot be loaded
        """
        raise NotImplementedError
