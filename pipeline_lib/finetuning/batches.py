"""Which utterances, and which chunk of each, make which batch: a function of seed, phase and epoch alone.

A resumed run therefore sees the same audio. Batches are of like length; the epoch's rest that fills no batch is left
out, another one each epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline_lib.finetuning.data import Read
from pipeline_lib.finetuning.settings import FinetuningSettings, PhaseSettings

BUCKET = 20  # batches that are sorted by length together: like lengths, and still another mixture each epoch


@dataclass(frozen=True)
class Batch:
    """Rows of the manifest with a chunk of each; shapes ``(batch,)``. A duration of NaN reads to the end."""

    rows: np.ndarray
    starts_s: np.ndarray
    durations_s: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def pieces(self, splits: int) -> list["Batch"]:
        """Return the batch cut into so many parts of like size, none empty."""
        places = [part for part in np.array_split(np.arange(len(self)), splits) if len(part)]
        return [Batch(self.rows[part], self.starts_s[part], self.durations_s[part]) for part in places]

    def of_process(self, index: int, count: int) -> "Batch":
        """Return every ``count``-th utterance from the ``index``-th on."""
        return Batch(self.rows[index::count], self.starts_s[index::count], self.durations_s[index::count])


def epoch(
    rows: np.ndarray, classes: np.ndarray, lengths: np.ndarray, phase: PhaseSettings, seeds: tuple[int, ...]
) -> list[Batch]:
    """Return an epoch's batches, all of the phase's batch size; one smaller batch where there are too few rows.

    Args:
        rows: of the manifest, to train on, shape ``(n,)``
        classes: label index of each of them, for a balanced sampler, shape ``(n,)``, -1 where it has none
        lengths: seconds of audio, or characters of text, shape ``(n,)``
        phase: sampler, batch size, chunk length
        seeds: seed, number of the phase, number of the epoch
    """
    rng = np.random.default_rng(seeds)
    drawn = rng.permutation(len(rows)) if phase.sampler == "natural" else _balanced(classes, rng)
    starts, chunks = _chunks(lengths[drawn], phase.chunk_s, rng)
    size = min(phase.batch_size, len(drawn))
    n_batches = len(drawn) // size
    order = np.arange(n_batches * size)
    spans = np.arange(0, len(order), BUCKET * size)
    seen = np.where(np.isnan(chunks), lengths[drawn], chunks)
    order = np.concatenate(
        [start + np.argsort(seen[start : min(start + BUCKET * size, len(order))], kind="stable") for start in spans]
    )
    batches = order.reshape(n_batches, size)[rng.permutation(n_batches)]
    return [Batch(rows[drawn[batch]], starts[batch], chunks[batch]) for batch in batches]


def steps_in_epoch(n_rows: int, phase: PhaseSettings) -> int:
    """Return the optimiser steps of an epoch; a balanced sampler draws as many utterances as there are."""
    n_batches = max(1, n_rows // phase.batch_size)
    return -(-n_batches // phase.accumulation)


class Loader(Dataset):
    """Batches as tensors, made in data-loader workers: reads, features, targets."""

    def __init__(
        self,
        batches: list[Batch],
        read: Read,
        prepare: Callable[..., dict[str, Tensor]],
        targets: dict[str, np.ndarray],
    ) -> None:
        """Take the parts.

        Args:
            batches: one an item
            read: row, start and duration to a waveform or a text
            prepare: the encoder's
            targets: arrays over the manifest's rows
        """
        self.batches, self.read, self.prepare, self.targets = batches, read, prepare, targets

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        batch = self.batches[i]
        chunks = zip(batch.rows, batch.starts_s, batch.durations_s, strict=True)
        read = [
            self.read(int(row), float(start), None if np.isnan(length) else float(length))
            for row, start, length in chunks
        ]
        targets = {name: torch.from_numpy(values[batch.rows]) for name, values in self.targets.items()}
        return self.prepare(read), targets


def load(loader: Loader, workers: int, device: torch.device) -> DataLoader:
    """Return an iterable of the batches in order; random numbers of the process are not touched."""
    return DataLoader(
        loader,
        batch_size=None,
        shuffle=False,
        num_workers=min(workers, len(loader)),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),
    )


def to(inputs: dict[str, Tensor], device: torch.device) -> dict[str, Any]:
    """Return the tensors on the device."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}


def whole(lengths: np.ndarray, settings: FinetuningSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return start and duration of whole utterances; NaN reads to the end, of what is too long the middle is taken."""
    longest = settings.predict.max_s if settings.modality == "audio" else np.inf
    too_long = lengths > longest
    return np.where(too_long, (lengths - longest) / 2, 0.0), np.where(too_long, longest, np.nan)


def _chunks(lengths: np.ndarray, bounds: list[float] | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each chunk's start and duration: uniform between the bounds, anywhere in the utterance."""
    if bounds is None:
        return np.zeros(len(lengths)), np.full(len(lengths), np.nan)
    drawn = rng.random((2, len(lengths)))
    durations = np.minimum(lengths, bounds[0] + drawn[0] * (bounds[1] - bounds[0]))
    return drawn[1] * (lengths - durations), durations


def _balanced(classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return as many places as there are utterances with a label, each label equally often, in random order.

    A label's utterances are drawn in rounds, so that none comes twice before all came once.
    """
    known = np.unique(classes[classes >= 0])
    total = int((classes >= 0).sum())
    quotas = np.full(len(known), total // len(known))
    quotas[rng.permutation(len(known))[: total % len(known)]] += 1
    drawn = []
    for label, quota in zip(known, quotas):
        members = np.flatnonzero(classes == label)
        rounds = [rng.permutation(members) for _ in range(-(-int(quota) // len(members)))]
        drawn.append(np.concatenate(rounds)[:quota] if rounds else members[:0])
    return rng.permutation(np.concatenate(drawn))
