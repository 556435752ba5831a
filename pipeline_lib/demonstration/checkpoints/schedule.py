"""Learning rate schedule and batches of like length, for the training of all checkpoints."""

import math
from collections.abc import Iterator, Sequence

import numpy as np


def warm_up_and_decay(step: int, warm_up: int, steps: int) -> float:
    """Return the learning rate's factor, in [0, 1]: linear warm-up, then cosine decay to 0.

    Args:
        step: from 0
        warm_up: number of warm-up steps
        steps: number of all steps
    """
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def like_long(lengths: Sequence[int], batch: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield indices of examples of like length, for ever, in a new order each pass.

    Args:
        lengths: of the examples
        batch: number of examples in a batch
        rng: source of the order
    """
    while True:
        order = rng.permutation(len(lengths))
        for pool in np.array_split(order, max(1, len(order) // (batch * 10))):
            ranked = sorted(pool.tolist(), key=lambda i: lengths[i])
            groups = [ranked[i : i + batch] for i in range(0, len(ranked) - batch + 1, batch)]
            for group in rng.permutation(len(groups)):
                yield groups[group]
