"""Paired permutation test of two systems on the same utterances, swapped by speaker.

Under the null hypothesis the two systems' answers are exchangeable. So the answers of the two are swapped, for all
utterances of a speaker together, and the difference of the scores is taken again; the p-value is the share of swaps
whose difference is at least as large in size (two-sided). All swaps are tried where there are few speakers, otherwise a
seeded sample of them, with p = (b + 1) / (m + 1), which is never 0 (Phipson and Smyth 2010). With few speakers p is at
least 2 / 2^speakers: six speakers cannot reach less than 0.031.

McNemar's exact test on right and wrong answers is the second opinion; it takes utterances for independent, so its p is
too small where speakers matter.
"""

import numpy as np

from pipeline_lib.scoring.bootstrap import Tally, interval, resampled

_TIE = 1e-12  # differences closer than this are the same number, rounded differently
_SWAPS_AT_ONCE = 2**22


def difference(one: Tally, other: Tally, metric: str) -> float:
    """Return the score of ``one`` minus that of ``other``.

    Args:
        one: a system's tally
        other: the other's, over the same clusters of the same utterances
        metric: name of a score of both
    """
    return one.score(metric) - other.score(metric)


def difference_interval(
    one: Tally, other: Tally, metric: str, samples: int, seed: int, confidence: float
) -> tuple[float, float]:
    """Return the bootstrap interval of the difference; each resample draws the same speakers for both systems.

    Args:
        one: a system's tally over clusters
        other: the other's, over the same clusters of the same utterances
        metric: name of a score of both
        samples: number of resamples
        seed: of the draws
        confidence: in (0, 1)

    Returns:
        lower and upper bound
    """
    drawn = [tally.scores[metric](resampled(tally.sums, samples, seed)) for tally in (one, other)]
    return interval(drawn[0] - drawn[1], confidence)


def permutation_p(one: Tally, other: Tally, metric: str, permutations: int, seed: int) -> float:
    """Return the two-sided p-value of the paired swap test.

    Args:
        one: a system's tally over clusters
        other: the other's, over the same clusters of the same utterances
        metric: name of a score of both
        permutations: number of swaps to try; all ``2^(n_clusters - 1)`` where that is no more
        seed: of the sampled swaps

    Returns:
        p in (0, 1]
    """
    n_clusters = len(one.sums)
    observed = abs(difference(one, other, metric))
    exact = n_clusters - 1 <= 40 and 2 ** (n_clusters - 1) <= permutations
    tried = 2 ** (n_clusters - 1) if exact else permutations
    generator = np.random.default_rng([seed, n_clusters])
    size = max(1, _SWAPS_AT_ONCE // n_clusters)
    as_large = 0
    for start in range(0, tried, size):
        n = min(size, tried - start)
        # swapping everyone only turns the sign, so the last cluster stays where it is
        swap = _binary(start, n, n_clusters) if exact else generator.integers(0, 2, (n, n_clusters))
        as_large += int((_swapped(one, other, metric, swap) >= observed - _TIE).sum())
    return as_large / tried if exact else (as_large + 1) / (tried + 1)


def mcnemar_p(one_right: np.ndarray, other_right: np.ndarray) -> float:
    """Return the two-sided exact p-value of McNemar's test: a fair coin over the utterances where one system is right.

    Args:
        one_right: bool, shape ``(n,)``
        other_right: bool, shape ``(n,)``

    Returns:
        p in (0, 1]; 1 where the two never differ
    """
    only_one, only_other = int((one_right & ~other_right).sum()), int((other_right & ~one_right).sum())
    n = only_one + only_other
    tail = term = 1
    for i in range(min(only_one, only_other)):
        term = term * (n - i) // (i + 1)  # n choose i + 1
        tail += term
    return min(1.0, 2 * tail / 2**n)


def _swapped(one: Tally, other: Tally, metric: str, swap: np.ndarray) -> np.ndarray:
    """Return the size of the difference after each row of swaps, shape ``(n,)``."""
    gain = (other.sums - one.sums).reshape(len(one.sums), -1)
    moved = (swap.astype(np.float64) @ gain).reshape(len(swap), *one.sums.shape[1:])
    score = one.scores[metric]
    return np.abs(score(one.sums.sum(axis=0) + moved) - score(other.sums.sum(axis=0) - moved))


def _binary(start: int, n: int, width: int) -> np.ndarray:
    """Return the numbers ``start … start + n - 1`` in binary, shape ``(n, width)``."""
    return (np.arange(start, start + n)[:, None] >> np.arange(width)) & 1
