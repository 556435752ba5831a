"""The best weights on the simplex: each at least 0, a multiple of the step, summing to 1.

Two experts are the grid of Härm and Alumäe, Odyssey 2024, section 3.3: 0, 0.05 ... 1. With more experts every
combination is tried while there are at most 2,000 (four experts at a step of 0.05 are 1,771). Beyond that the search
starts from equal weights, moves any number of steps from one expert to another, takes the best of all such moves and
ends when none is better: deterministic, at least as good as equal weights, not always the best.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

MOST = 2_000
_DECIMALS = 12  # scores closer than this are tied


@dataclass(frozen=True)
class SearchResult:
    """The best weights and all that were tried.

    Attributes:
        weights: shape ``(n_experts,)``, sum to 1
        tried: in the order of trial, shape ``(n_tried, n_experts)``
        criteria: of the tried weights; the first decides, a later one among ties; shape ``(n_tried, n_criteria)``
    """

    weights: np.ndarray
    tried: np.ndarray
    criteria: np.ndarray

    @property
    def score(self) -> float:
        """The first criterion of the best weights, a scalar."""
        return float(self.criteria[_best(self.tried, self.criteria), 0])


def search(criteria_of: Callable[[np.ndarray], np.ndarray], n_experts: int, step: float) -> SearchResult:
    """Return the weights with the largest criteria.

    Ties in the first criterion go to the larger second, and so on, then to the weights nearest to equal ones, then to
    the earlier in the order of trial (the first expert's weight falling).

    Args:
        criteria_of: from weights of shape ``(n, n_experts)`` to criteria of shape ``(n, n_criteria)``, larger is better
        n_experts: length of the weights
        step: between weights, in (0, 1], divides 1

    Returns:
        the best weights, shape ``(n_experts,)``, with all that were tried
    """
    steps = round(1 / step)
    if comb(steps + n_experts - 1, n_experts - 1) <= MOST:
        tried = _compositions(steps, n_experts) / steps
        criteria = criteria_of(tried)
        return SearchResult(tried[_best(tried, criteria)], tried, criteria)
    share, left = divmod(steps, n_experts)
    current = np.array([share + (k < left) for k in range(n_experts)])
    tried, criteria = current[None] / steps, criteria_of(current[None] / steps)
    while True:
        moves = _exchanges(current)
        tried = np.concatenate([tried, moves / steps])
        criteria = np.concatenate([criteria, criteria_of(moves / steps)])
        best = np.rint(tried[_best(tried, criteria)] * steps).astype(np.int64)
        if (best == current).all():
            return SearchResult(current / steps, tried, criteria)
        current = best


def _compositions(steps: int, parts: int) -> np.ndarray:
    """Return every way to write ``steps`` as a sum of ``parts`` counts, the first falling."""
    if parts == 1:
        return np.array([[steps]])
    rows = []
    for first in range(steps, -1, -1):
        rest = _compositions(steps - first, parts - 1)
        rows.append(np.column_stack([np.full(len(rest), first), rest]))
    return np.concatenate(rows)


def _exchanges(current: np.ndarray) -> np.ndarray:
    """Return every move of one or more steps from one expert to another."""
    moves = []
    for giver in range(len(current)):
        for taker in range(len(current)):
            for moved in range(1, current[giver] + 1 if giver != taker else 1):
                moved_to = current.copy()
                moved_to[giver] -= moved
                moved_to[taker] += moved
                moves.append(moved_to)
    return np.array(moves)


def _best(tried: np.ndarray, criteria: np.ndarray) -> int:
    """Return the row of the best weights, see ``search``."""
    away = ((tried - 1 / tried.shape[1]) ** 2).sum(axis=1)
    keys = np.round(np.column_stack([-criteria, away]), _DECIMALS)
    return int(np.lexsort(keys.T[::-1])[0])
