"""Plan of shards and batches, fixed before the first forward pass: a resumed run has the same ones."""

from collections.abc import Sequence

import numpy as np

from pipeline_lib.errors import InputError

LARGEST_SHARD = 1 << 28  # bytes: with all frames of all layers, 256 utterances would fill the memory


def shards(sizes: Sequence[int], shard_size: int, largest: int = LARGEST_SHARD) -> list[list[int]]:
    """Return consecutive rows, at most ``shard_size`` of them and ``largest`` bytes, but at least one row, a shard.

    Args:
        sizes: bytes of each row's output
        shard_size: rows
        largest: bytes

    Returns:
        row numbers of each shard; put behind one another they are 0, 1, 2 ...
    """
    plan: list[list[int]] = []
    filled = 0
    for row, size in enumerate(sizes):
        if not plan or len(plan[-1]) == shard_size or filled + size > largest:
            plan.append([])
            filled = 0
        plan[-1].append(row)
        filled += size
    return plan


def batches(
    rows: Sequence[int], lengths: Sequence[float], batch_size: int, most: float | None = None
) -> list[list[int]]:
    """Return the rows of a shard in batches of like length, the longest first.

    Args:
        rows: of a shard
        lengths: of every row of the table, seconds or characters
        batch_size: rows
        most: sum of the lengths of a batch with its padding, but at least one row is in it; None for no limit

    Returns:
        each row once
    """
    plan: list[list[int]] = []
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        full = not plan or len(plan[-1]) == batch_size
        if full or (most is not None and lengths[plan[-1][0]] * (len(plan[-1]) + 1) > most):
            plan.append([])
        plan[-1].append(row)
    return plan


def refuse_too_large(sizes: Sequence[int], limit_gb: float, n_layers: int, *, frames: bool) -> None:
    """Refuse an output over the limit.

    Args:
        sizes: bytes of each row's output
        limit_gb: 10^9 bytes
        n_layers: number of layers that are stored
        frames: whether every frame is stored

    Raises:
        InputError: with the size and what would make it smaller
    """
    size_gb = float(np.sum(sizes, dtype=np.float64)) / 1e9
    if size_gb > limit_gb:
        fewer = "fewer layers" + (", frames: false" if frames else "")
        output = f"{n_layers} layers{' with all frames' if frames else ''} of {len(sizes)} utterances"
        raise InputError(
            f"{output} would take {size_gb:.3g} GB, limit_gb is {limit_gb:g}; choose {fewer}, or raise limit_gb"
        )
