"""Plan of an epoch, batches of chunks of utterances: a function of seed, phase and epoch alone; ``loading`` loads them.

A resumed run therefore sees the same audio, augmentation included: the plan holds a seed for each chunk and a speed for
each batch. Batches are of like length; the epoch's rest that fills no batch is left out, another one each epoch.
"""

import numpy as np

from pipeline_lib.experts.loading import Batch
from pipeline_lib.finetuning.optimisation import drawn_shares
from pipeline_lib.params.augmentation import MixingSettings, SpeedSettings
from pipeline_lib.params.training import PhaseSettings

BUCKET = 20  # batches that are sorted by length together: like lengths, and still another mixture each epoch
AT_ITS_OWN_SPEED = SpeedSettings()
UNMIXED = MixingSettings()


def epoch(
    rows: np.ndarray,
    classes: np.ndarray,
    lengths: np.ndarray,
    phase: PhaseSettings,
    seeds: tuple[int, ...],
    speed: SpeedSettings = AT_ITS_OWN_SPEED,
    mixing: MixingSettings = UNMIXED,
) -> list[Batch]:
    """Return an epoch's batches, all of the phase's batch size; one smaller batch where there are too few rows.

    Args:
        rows: of the manifest, to train on, shape ``(n,)``
        classes: label index of each of them, for a balanced sampler, shape ``(n,)``, -1 where it has none
        lengths: seconds of audio, or characters of text, shape ``(n,)``
        phase: sampler, batch size, chunk length
        seeds: seed, number of the phase, number of the epoch
        speed: share of the batches that are played at another speed
        mixing: chance of a chunk to be mixed with another's
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
    partners, shares = _partners(rows[drawn], mixing, rng)
    return [
        Batch(
            rows[drawn[batch]],
            *_played_at(starts[batch], chunks[batch], lengths[drawn[batch]], batch_speed),
            of_chunks[batch],
            batch_speed,
            None if partners is None else partners[batch],
            None if shares is None else shares[batch],
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


def _partners(
    drawn: np.ndarray, mixing: MixingSettings, rng: np.random.Generator
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the row that each chunk is mixed with, -1 for none, and the chunk's own share of the mixture.

    The rows that the sampler drew are dealt out once more, so that partners have the labels' shares that the sampler
    gives; nobody is mixed with itself.
    """
    if not mixing.probability:
        return None, None
    partners = drawn[rng.permutation(len(drawn))]
    is_mixed = (rng.random(len(drawn)) < mixing.probability) & (partners != drawn)
    shares = rng.beta(mixing.alpha, mixing.alpha, size=len(drawn))
    return np.where(is_mixed, partners, -1), np.where(is_mixed, shares, 1.0)


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
