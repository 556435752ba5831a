"""Batches of chunks as tensors: read, augmented, made into an encoder's inputs, by data-loader processes or this one.

Training, development, prediction and the report on alignment load through here. Processes rather than the threads of
``shards.batches.ahead``, for augmentation and tokenizers hold Python's lock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.modalities import MODALITIES

Augment = Callable[[np.ndarray, int, float], np.ndarray]  # part, seed, speed to the part augmented
Samples = list[tuple[Any, ...]]  # an utterance's parts, one a modality


@dataclass(frozen=True)
class Batch:
    """Rows of the utterances with a chunk of each; shapes ``(batch,)``. A duration of NaN reads to the end.

    ``seeds`` are of each chunk's augmentation, None where there is none of any kind: in development and prediction. A
    chunk of ``durations_s`` is read and then played at ``speed``. ``partners`` are the rows that chunks are mixed with,
    -1 for none, and ``shares`` the chunks' own share of the mixture; both None where nothing is mixed.
    """

    rows: np.ndarray
    starts_s: np.ndarray
    durations_s: np.ndarray
    seeds: np.ndarray | None = None
    speed: float = 1.0
    partners: np.ndarray | None = None
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pieces(self, splits: int) -> list["Batch"]:
        """Return the batch cut into at most ``splits`` parts of like size, none empty."""
        return [self._part(part) for part in np.array_split(np.arange(len(self)), splits) if len(part)]

    def of_process(self, index: int, count: int) -> "Batch":
        """Return the share of one process: every ``count``-th utterance from the ``index``-th on.

        Args:
            index: of the process, from 0
            count: number of processes
        """
        return self._part(slice(index, None, count))

    def _part(self, selection: np.ndarray | slice) -> "Batch":
        columns = ("rows", "starts_s", "durations_s", "seeds", "partners", "shares")
        values: dict[str, Any] = {name: getattr(self, name) for name in columns}
        parts: dict[str, Any] = {name: None if each is None else each[selection] for name, each in values.items()}
        return replace(self, **parts)


class Loader(Dataset):
    """Batches as tensors, made in data-loader workers: reads, features, targets."""

    def __init__(
        self,
        batches: list[Batch],
        utterances: Utterances,
        prepare: Callable[..., dict[str, Any]],
        targets: Callable[[Batch], Mapping[str, np.ndarray]] | None = None,
        augment: Mapping[str, Augment] | None = None,
        mix: Callable[[Batch, Samples], Samples] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            batches: one an item
            utterances: that are read
            prepare: of the encoder: utterances, tuples of parts, to tensors by name
            targets: of a batch to its targets by name, first axis of shape ``(batch,)``; None for none
            augment: by modality, applied to its parts in chunks that have a seed; None leaves all as they are
            mix: of a batch and its utterances' parts to these mixed with others', before they are augmented; None
                leaves all as they are
        """
        self.batches, self.utterances, self.prepare = batches, utterances, prepare
        self.targets, self.augment, self.mix = targets, augment or {}, mix

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        batch = self.batches[i]
        chunks = zip(batch.rows, batch.starts_s, batch.durations_s, strict=True)
        samples = [
            self.utterances.read(int(row), float(start), None if np.isnan(length) else float(length))
            for row, start, length in chunks
        ]
        if self.mix is not None:
            samples = self.mix(batch, samples)
        if self.augment and batch.seeds is not None:
            seeds = batch.seeds.tolist()
            samples = [self._augmented(sample, seed, batch.speed) for sample, seed in zip(samples, seeds, strict=True)]
        targets = {} if self.targets is None else self.targets(batch)
        return self.prepare(samples), {name: torch.from_numpy(values) for name, values in targets.items()}

    def _augmented(self, sample: tuple[Any, ...], seed: int, speed: float) -> tuple[Any, ...]:
        """Return an utterance's parts, augmented where there is an augmentation of their modality."""
        return tuple(
            self.augment[name](part, seed, speed) if name in self.augment and part is not None else part
            for name, part in zip(self.utterances.modalities, sample, strict=True)
        )


def load(loader: Loader, workers: int, device: torch.device) -> DataLoader:
    """Return an iterable of the batches in order; random numbers of the process are not touched.

    Args:
        loader: the batches
        workers: processes that read and prepare, 0 for this one
        device: memory is pinned for CUDA
    """
    return DataLoader(
        loader,
        batch_size=None,
        shuffle=False,
        num_workers=min(workers, len(loader)),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),
    )


def to(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the tensors on a device, those of nested dicts too.

    Args:
        inputs: tensors by name, of any shape
        device: to copy them to
    """
    return {
        name: to(value, device) if isinstance(value, dict) else value.to(device, non_blocking=True)
        for name, value in inputs.items()
    }


def whole(utterances: Utterances, rows: np.ndarray, max_s: float) -> Batch:
    """Return a batch of whole utterances; of audio that is too long the middle. A text is never cut.

    Args:
        utterances: all of them
        rows: those of the batch, shape ``(batch,)``
        max_s: longest audio that is read whole, in seconds
    """
    in_seconds = any(MODALITIES[name].unit == "seconds" for name in utterances.modalities)
    lengths, longest = utterances.lengths[rows], max_s if in_seconds else np.inf
    too_long = lengths > longest
    starts_s = np.where(too_long, (lengths - longest) / 2, 0.0)
    return Batch(rows, starts_s, np.where(too_long, longest, np.nan))
