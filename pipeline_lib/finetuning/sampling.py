"""Batches of an epoch, chunks of utterances: a function of seed, phase and epoch alone.

A resumed run therefore sees the same audio, augmentation included: the plan holds a seed for each chunk and a speed for
each batch. Batches are of like length; the epoch's rest that fills no batch is left out, another one each epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline_lib.experts.utterances import Reader
from pipeline_lib.finetuning.augmentation.augment import Augmentation
from pipeline_lib.finetuning.optimisation import drawn_shares
from pipeline_lib.params.augmentation import SpeedSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.training import PhaseSettings

BUCKET = 20  # batches that are sorted by length together: like lengths, and still another mixture each epoch
AT_ITS_OWN_SPEED = SpeedSettings()


@dataclass(frozen=True)
class Batch:
    """Rows of the manifest with a chunk of each; shapes ``(batch,)``. A duration of NaN reads to the end.

    ``seeds`` are of each chunk's augmentation, None where there is none of any kind: in development and prediction. A
    chunk of ``durations_s`` is read and then played at ``speed``.
    """

    rows: np.ndarray
    starts_s: np.ndarray
    durations_s: np.ndarray
    seeds: np.ndarray | None = None
    speed: float = 1.0

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
        seeds = None if self.seeds is None else self.seeds[selection]
        starts_s, durations_s = self.starts_s[selection], self.durations_s[selection]
        return replace(self, rows=self.rows[selection], starts_s=starts_s, durations_s=durations_s, seeds=seeds)


def epoch(
    rows: np.ndarray,
    classes: np.ndarray,
    lengths: np.ndarray,
    phase: PhaseSettings,
    seeds: tuple[int, ...],
    speed: SpeedSettings = AT_ITS_OWN_SPEED,
) -> list[Batch]:
    """Return an epoch's batches, all of the phase's batch size; one smaller batch where there are too few rows.

    Args:
        rows: of the manifest, to train on, shape ``(n,)``
        classes: label index of each of them, for a balanced sampler, shape ``(n,)``, -1 where it has none
        lengths: seconds of audio, or characters of text, shape ``(n,)``; see ``data.lengths_of``
        phase: sampler, batch size, chunk length
        seeds: seed, number of the phase, number of the epoch
        speed: share of the batches that are played at another speed
    """
    rng = np.random.default_rng(seeds)
    drawn = rng.permutation(len(rows)) if phase.sampler == "natural" else _drawn(classes, phase, seeds[-1], rng)
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
    of_chunks = rng.integers(2**63, size=len(drawn))
    speeds = _speeds(n_batches, speed, rng)
    return [
        Batch(
            rows[drawn[batch]],
            *_played_at(starts[batch], chunks[batch], lengths[drawn[batch]], batch_speed),
            of_chunks[batch],
            batch_speed,
        )
        for batch, batch_speed in zip(batches, speeds, strict=True)
    ]


def steps_in_epoch(n_rows: int, phase: PhaseSettings) -> int:
    """Return the optimiser steps of an epoch; a balanced sampler draws as many utterances as there are.

    Args:
        n_rows: utterances of an epoch
        phase: batch size and accumulation
    """
    n_batches = max(1, n_rows // phase.batch_size)
    return -(-n_batches // phase.gradient_accumulation_steps)


class Loader(Dataset):
    """Batches as tensors, made in data-loader workers: reads, features, targets."""

    def __init__(
        self,
        batches: list[Batch],
        read: Reader,
        prepare: Callable[..., dict[str, Any]],
        targets: dict[str, np.ndarray],
        augment: Augmentation | None = None,
    ) -> None:
        """Take the parts.

        Args:
            batches: one an item
            read: row, start and duration in seconds to a waveform, a text, or a pair of both
            prepare: of the encoder: what was read to tensors by name
            targets: by name, over the manifest's rows, first axis of shape ``(n,)``
            augment: applied to chunks that have a seed; None leaves all as they are
        """
        self.batches, self.read, self.prepare, self.targets = batches, read, prepare, targets
        self.augment = augment

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        batch = self.batches[i]
        chunks = zip(batch.rows, batch.starts_s, batch.durations_s, strict=True)
        samples = [
            self.read(int(row), float(start), None if np.isnan(length) else float(length))
            for row, start, length in chunks
        ]
        if self.augment is not None and batch.seeds is not None:
            seeds = batch.seeds.tolist()
            samples = [
                _augmented(self.augment, sample, seed, batch.speed) for sample, seed in zip(samples, seeds, strict=True)
            ]
        targets = {name: torch.from_numpy(values[batch.rows]) for name, values in self.targets.items()}
        return self.prepare(samples), targets


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


def to(inputs: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the tensors on a device, those of nested dicts too.

    Args:
        inputs: tensors by name, of any shape
        device: to copy them to
    """
    return {
        name: to(value, device) if isinstance(value, dict) else value.to(device, non_blocking=True)
        for name, value in inputs.items()
    }


def whole(lengths: np.ndarray, settings: FinetuningSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return start and duration of whole utterances; of what is too long the middle.

    Args:
        lengths: seconds or characters, shape ``(n,)``
        settings: the entry, with ``predict.max_s``

    Returns:
        starts and durations, shape ``(n,)`` each; a duration of NaN reads to the end
    """
    longest = np.inf if settings.modality == "text" else settings.predict.max_s
    too_long = lengths > longest
    return np.where(too_long, (lengths - longest) / 2, 0.0), np.where(too_long, longest, np.nan)


def _augmented(augment: Augmentation, sample: Any, seed: int, speed: float) -> Any:
    """Return what was read with its audio augmented."""
    if not isinstance(sample, tuple):
        return augment(sample, seed, speed)
    audio, text = sample
    return (None if audio is None else augment(audio, seed, speed)), text


def _chunks(lengths: np.ndarray, bounds: list[float] | None, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return each chunk's start and duration: uniform between the bounds, anywhere in the utterance."""
    if bounds is None:
        return np.zeros(len(lengths)), np.full(len(lengths), np.nan)
    drawn = rng.random((2, len(lengths)))
    durations = np.minimum(lengths, bounds[0] + drawn[0] * (bounds[1] - bounds[0]))
    return drawn[1] * (lengths - durations), durations


def _speeds(n_batches: int, speed: SpeedSettings, rng: np.random.Generator) -> list[float]:
    """Return each batch's speed: another than 1 for exactly the expected share of them, rounded."""
    speeds = np.ones(n_batches)
    chosen = rng.permutation(n_batches)[: round(speed.share * n_batches)]
    speeds[chosen] = rng.choice(speed.factors, size=len(chosen))
    return speeds.tolist()


def _played_at(
    starts: np.ndarray, durations: np.ndarray, lengths: np.ndarray, speed: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return start and duration of what is read so that a chunk has its duration once played at the speed.

    An utterance that has not enough of it is read whole. The start keeps its relative position between the first and
    last possible.
    """
    if speed == 1.0:
        return starts, durations
    spare = lengths - durations
    positions = np.divide(starts, spare, out=np.zeros(len(starts)), where=spare > 0)
    read = np.minimum(lengths, durations * speed)
    return np.where(np.isnan(durations), starts, positions * (lengths - read)), np.where(np.isnan(read), np.nan, read)


def _drawn(classes: np.ndarray, phase: PhaseSettings, epoch: int, rng: np.random.Generator) -> np.ndarray:
    """Return as many indices as there are utterances with a label, labels in the epoch's shares, in random order.

    A label's utterances are drawn in rounds, so that none comes twice before all came once. Shares of the total are
    rounded down; what is left over goes to the largest remainders, equal ones at random.
    """
    known, counts = np.unique(classes[classes >= 0], return_counts=True)
    expected = drawn_shares(counts, phase, epoch) * counts.sum()
    quotas = np.floor(expected).astype(np.int64)
    order = rng.permutation(len(known))
    order = order[np.argsort(np.round(quotas - expected, 9)[order], kind="stable")]
    quotas[order[: counts.sum() - quotas.sum()]] += 1
    drawn = []
    for label, quota in zip(known, quotas):
        members = np.flatnonzero(classes == label)
        rounds = [rng.permutation(members) for _ in range(-(-int(quota) // len(members)))]
        drawn.append(np.concatenate(rounds)[:quota] if rounds else members[:0])
    return rng.permutation(np.concatenate(drawn))
