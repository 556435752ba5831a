"""Paired permutation test of two systems on the same utterances, swapped by speaker.

Under the null hypothesis the two systems' answers are exchangeable. So the answers of the two are swapped, for all
utterances of a speaker together, and the difference of the scores is taken again; the p-value is the share of swaps
whose difference is at least as large in size (two-sided). All swaps are tried where there are few speakers, otherwise a
seeded sample of them, with p = (b + 1) / (m + 1), which is never 0 (Phipson and Smyth 2010). With few speakers p is at
least 2 / 2^speakers: six speakers cannot reach less than 0.031, five not less than 0.063. So beside every p stand the
smallest one that the speakers allow and the difference that would have been detected with a power of 80 %.
"""

import numpy as np

from pipeline_lib.metrics.jackknife import degrees_of_freedom, student
from pipeline_lib.scoring.intervals import difference_error
from pipeline_lib.scoring.tallies import Tally

LEVEL, POWER = 0.05, 0.8  # of the detectable difference

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
    exact = _is_exact(n_clusters, permutations)
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


def least_p(one: Tally, other: Tally, permutations: int) -> float:
    """Return the smallest p-value that the swap test can give with these speakers.

    A speaker for whom the two systems' sums are the same changes nothing when swapped, and does not count.

    Args:
        one: a system's tally by speaker
        other: the other's, over the same speakers of the same utterances
        permutations: number of swaps that are tried at most

    Returns:
        p in (0, 1]
    """
    differing = int((one.sums != other.sums).reshape(len(one.sums), -1).any(axis=1).sum())
    exact = 2.0 ** (1 - differing) if differing else 1.0
    return exact if _is_exact(len(one.sums), permutations) else max(exact, 1 / (permutations + 1))


def detectable(one: Tally, other: Tally, metric: str, least: float) -> float | None:
    """Return the difference that a two-sided test at 0.05 detects with a power of 80 %, these speakers being typical.

    The standard error times the sum of Student's quantiles of 0.975 and 0.8 (Bloom 1995, minimum detectable effect).

    Args:
        one: a system's tally by speaker
        other: the other's, over the same speakers of the same utterances
        metric: name of a score of both
        least: smallest p-value that the test can give

    Returns:
        size of the difference; None where no difference can be significant, or more than the metric's range were needed
    """
    if least > LEVEL:
        return None
    freedom = degrees_of_freedom(one.sizes)
    size = float(student(freedom, 1 - LEVEL / 2) + student(freedom, POWER)) * difference_error(one, other, metric)
    return size if size <= one.span[1] - one.span[0] else None


def _is_exact(n_clusters: int, permutations: int) -> bool:
    """Return whether all swaps are tried."""
    return n_clusters - 1 <= 40 and 2 ** (n_clusters - 1) <= permutations


def _swapped(one: Tally, other: Tally, metric: str, swap: np.ndarray) -> np.ndarray:
    """Return the size of the difference after each row of swaps, shape ``(n,)``."""
    gain = (other.sums - one.sums).reshape(len(one.sums), -1)
    moved = (swap.astype(np.float64) @ gain).reshape(len(swap), *one.sums.shape[1:])
    score = one.scores[metric]
    return np.abs(score(one.sums.sum(axis=0) + moved) - score(other.sums.sum(axis=0) - moved))


def _binary(start: int, n: int, width: int) -> np.ndarray:
    """Return the numbers ``start … start + n - 1`` in binary, shape ``(n, width)``."""
    return (np.arange(start, start + n)[:, None] >> np.arange(width)) & 1
