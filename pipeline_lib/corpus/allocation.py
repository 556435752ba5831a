"""Assign units (speakers, groups, recordings) to parts, so that every part has its share of labels, size and genders.

The parts are train, dev and test, or folds. What is minimised is Pearson's chi-square of the table part x column
against the part's share of each column's sum, where the columns are the scored labels, utterances without one, and the
number of units of each gender; a part without a label costs more than any divergence. A seeded start is improved by
moving one unit or exchanging two, or all assignments are tried where these are few.

Counts enter the search rounded to powers of the square root of two, so that a recording more or less rarely moves
anybody else.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd

from pipeline_lib.labels import indices

MISSING = 1e3  # cost of a label that a part lacks; divergences are of order 1
OF_GENDER = 0.2  # weight of genders against that of labels
EXACT = 20_000  # assignments, up to which all are tried
PAIRED = 150  # units, up to which exchanges of two are tried
STEPS, STARTS = 500, 20
EPSILON = 1e-9


@dataclass(frozen=True)
class Units:
    """What is assigned as a whole.

    Attributes:
        names: sorted
        labels: utterances of each scored label, int64, shape ``(n_units, n_labels)``
        others: utterances without a scored label, int64, shape ``(n_units,)``
        genders: a word each; ``female+male`` of a group of both
    """

    names: tuple[str, ...]
    labels: np.ndarray
    others: np.ndarray
    genders: tuple[str, ...]

    def rows(self, units: pd.Series) -> np.ndarray:
        """Return the number of each row's unit, int64, shape ``(n,)``.

        Args:
            units: name of each row's unit
        """
        return pd.Index(self.names).get_indexer(units)


def units_of(frame: pd.DataFrame, units: pd.Series, labels: Sequence[str]) -> Units:
    """Return the units with the counts of their utterances.

    Args:
        frame: with ``emotion`` and ``gender``
        units: name of each row's unit
        labels: scored emotions
    """
    names = tuple(sorted(set(units)))
    counts = np.zeros((len(names), len(labels) + 1), dtype=np.int64)
    np.add.at(counts, (pd.Index(names).get_indexer(units), indices(frame["emotion"].tolist(), labels)), 1)
    genders = frame["gender"].fillna("unknown").groupby(units.to_numpy()).agg(lambda each: "+".join(sorted(set(each))))
    return Units(names, counts[:, :-1], counts[:, -1], tuple(genders[name] for name in names))


def deal(names: Sequence[str], strata: Sequence[str], k: int, seed: int) -> np.ndarray:
    """Return a part for each name, as many of each stratum in every part as can be, int64, shape ``(n,)``.

    A name takes the part that it prefers by its own hash among those that are not full (rendezvous hashing, Thaler and
    Ravishankar 1998), so that one name more moves few others.

    Args:
        names: different from each other
        strata: of each name
        k: number of parts
        seed: of the hashes
    """
    result = np.zeros(len(names), dtype=np.int64)
    extra = np.zeros(k, dtype=np.int64)
    for stratum in sorted(set(strata)):
        members = [i for i, own in enumerate(strata) if own == stratum]
        least, more = divmod(len(members), k)
        room = np.full(k, least)
        larger = np.argsort(extra, kind="stable")[:more]
        room[larger] += 1
        extra[larger] += 1
        for i in sorted(members, key=lambda i: _hash(seed, names[i])):
            result[i] = min(np.flatnonzero(room), key=[_hash(seed, names[i], part) for part in range(k)].__getitem__)
            room[result[i]] -= 1
    return result


def ordered(names: Sequence[str], seed: int) -> list[str]:
    """Return the names in the order of their hashes, so that one name more leaves the order of the others.

    Args:
        names: different from each other
        seed: of the hashes
    """
    return sorted(names, key=lambda name: _hash(seed, name))


def allocate(
    units: Units,
    shares: Sequence[float],
    start: np.ndarray,
    free: np.ndarray | None = None,
    *,
    keep_sizes: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Return a part for each unit, int64, shape ``(n_units,)``.

    Args:
        units: what is assigned
        shares: of each part, above 0, sum 1
        start: part of each unit to begin with, which stays where it is as good as the best, shape ``(n_units,)``
        free: which units may be moved, bool, shape ``(n_units,)``; None: all
        keep_sizes: every part keeps its number of units
        seed: of further starts, which are made where a part lacks a label that it could have
    """
    free = np.ones(len(start), dtype=bool) if free is None else free
    table = _Table(units, np.asarray(shares, dtype=np.float64))
    movable, start = np.flatnonzero(free), np.asarray(start, dtype=np.int64)
    if _number(start[movable], len(shares), keep_sizes) <= EXACT:
        return _best_of_all(table, start, movable, keep_sizes)
    best = _improved(table, start, movable, keep_sizes)
    for trial in range(STARTS):
        if table.missing(best) <= table.least_missing:
            break
        shuffled = start.copy()
        shuffled[movable] = np.random.default_rng([seed, trial]).permutation(start[movable])
        other = _improved(table, shuffled, movable, keep_sizes)
        if table.cost(other[None])[0] < table.cost(best[None])[0] - EPSILON:
            best = other
    return best


def lacking(units: Units, parts: np.ndarray, n_parts: int) -> np.ndarray:
    """Return which labels of the corpus a part lacks, bool, shape ``(n_parts, n_labels)``.

    Args:
        units: what is assigned
        parts: of each unit, shape ``(n_units,)``
        n_parts: number of parts
    """
    counts = np.stack([units.labels[parts == part].sum(axis=0) for part in range(n_parts)])
    return (counts == 0) & (units.labels.sum(axis=0) > 0)


class _Table:
    """The columns that are balanced, and the cost of assignments."""

    def __init__(self, units: Units, shares: np.ndarray):
        genders = sorted(set(units.genders))
        of_gender = np.array([[own == gender for gender in genders] for own in units.genders], dtype=np.float64)
        counts = _rounded(np.column_stack([units.labels, units.others]))
        self.columns = np.column_stack([counts, of_gender])
        sums = self.columns.sum(axis=0)
        self.expected = np.maximum(shares[:, None] * sums, EPSILON)
        self.weights = np.full(len(sums), 1 / max(counts.sum(), 1))
        self.weights[counts.shape[1] :] = OF_GENDER / len(units.names)
        self.n_labels, self.n_parts = units.labels.shape[1], len(shares)
        carriers = (units.labels > 0).sum(axis=0)
        self.present = carriers > 0
        self.least_missing = int(np.maximum(self.n_parts - carriers, 0)[self.present].sum())

    def cost(self, parts: np.ndarray) -> np.ndarray:
        """Return the cost of assignments, shape ``(n, n_units)``, each the sum of its parts', shape ``(n,)``."""
        total = np.zeros(len(parts))
        for part in range(self.n_parts):
            total += self.of_part((parts == part) @ self.columns, np.array(part))
        return total

    def of_part(self, sums: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Return the cost of parts that hold ``sums``, shape ``(..., n_columns)``."""
        expected = self.expected[part]
        empty = ((sums[..., : self.n_labels] == 0) & self.present).sum(axis=-1)
        return ((sums - expected) ** 2 / expected * self.weights).sum(axis=-1) + MISSING * empty

    def sums(self, parts: np.ndarray) -> np.ndarray:
        """Return each part's sums, shape ``(n_parts, n_columns)``."""
        return np.stack([self.columns[parts == part].sum(axis=0) for part in range(self.n_parts)])

    def missing(self, parts: np.ndarray) -> int:
        """Return how many labels are lacking, summed over parts."""
        return int(((self.sums(parts)[:, : self.n_labels] == 0) & self.present).sum())


def _rounded(counts: np.ndarray) -> np.ndarray:
    """Return counts rounded to powers of the square root of two, float64; 0 stays 0."""
    return np.where(counts > 0, np.round(2 ** (np.round(2 * np.log2(np.maximum(counts, 1))) / 2)), 0.0)


def _improved(table: _Table, start: np.ndarray, movable: np.ndarray, keep_sizes: bool) -> np.ndarray:
    """Return an assignment that no move and no exchange improves."""
    parts = start.copy()
    for step in range(STEPS):
        sums, sizes = table.sums(parts), np.bincount(parts, minlength=table.n_parts)
        options = [] if keep_sizes else [_best_move(table, parts, sums, sizes, movable)]
        if len(movable) <= PAIRED or keep_sizes:
            chosen = movable
            if len(movable) > PAIRED:
                chosen = np.sort(np.random.default_rng(step).choice(movable, PAIRED, replace=False))
            options.append(_best_exchange(table, parts, sums, chosen))
        gain, changes = min(options, key=lambda option: option[0])
        if gain >= -EPSILON:
            break
        for unit, part in changes:
            parts[unit] = part
    return parts


def _best_move(
    table: _Table, parts: np.ndarray, sums: np.ndarray, sizes: np.ndarray, movable: np.ndarray
) -> tuple[float, list[tuple[int, int]]]:
    """Return the change of cost by the best move of one unit, and that move; no part is emptied."""
    now = np.array([table.of_part(sums[part], np.array(part)) for part in range(table.n_parts)])
    columns, own = table.columns[movable], parts[movable]
    leaves = table.of_part(sums[own] - columns, own) - now[own]
    every = np.arange(table.n_parts)[None, :]
    enters = table.of_part(sums[None] + columns[:, None], np.broadcast_to(every, (len(movable), table.n_parts))) - now
    change = np.round(leaves[:, None] + enters, 12)
    change[(every == own[:, None]) | (sizes[own] == 1)[:, None]] = np.inf
    best = np.unravel_index(np.argmin(change), change.shape)
    return float(change[best]), [(int(movable[best[0]]), int(best[1]))]


def _best_exchange(
    table: _Table, parts: np.ndarray, sums: np.ndarray, movable: np.ndarray
) -> tuple[float, list[tuple[int, int]]]:
    """Return the change of cost by the best exchange of two units, and that exchange."""
    now = np.array([table.of_part(sums[part], np.array(part)) for part in range(table.n_parts)])
    columns, own = table.columns[movable], parts[movable]
    gain = columns[None, :] - columns[:, None]  # of the row's part, when the column's unit comes for its own
    shape = (len(movable), len(movable))
    mine, theirs = np.broadcast_to(own[:, None], shape), np.broadcast_to(own[None, :], shape)
    change = table.of_part(sums[mine] + gain, mine) + table.of_part(sums[theirs] - gain, theirs)
    change = np.round(change - now[mine] - now[theirs], 12)
    change[mine == theirs] = np.inf
    best = np.unravel_index(np.argmin(change), change.shape)
    first, second = int(movable[best[0]]), int(movable[best[1]])
    return float(change[best]), [(first, int(parts[second])), (second, int(parts[first]))]


def _best_of_all(table: _Table, start: np.ndarray, movable: np.ndarray, keep_sizes: bool) -> np.ndarray:
    """Return the best of all assignments; of several the one that changes fewest units of the start."""
    options = np.array(list(_assignments(start[movable], table.n_parts, keep_sizes)), dtype=np.int64)
    parts = np.repeat(start[None], len(options), axis=0)
    parts[:, movable] = options.reshape(len(options), len(movable))
    costs = table.cost(parts)
    costs[[len(set(row)) < len(set(start)) for row in parts]] += MISSING * MISSING  # a part is emptied
    best = np.flatnonzero(costs <= costs.min() + EPSILON)
    return parts[best[np.argmin((parts[best] != start).sum(axis=1))]]


def _assignments(start: np.ndarray, n_parts: int, keep_sizes: bool) -> Iterator[tuple[int, ...]]:
    if not keep_sizes:
        yield from product(range(n_parts), repeat=len(start))
        return
    sizes = np.bincount(start, minlength=n_parts)

    def filled(part: int, left: tuple[int, ...], row: list[int]) -> Iterator[tuple[int, ...]]:
        if part == n_parts - 1:
            for i in left:
                row[i] = part
            yield tuple(row)
            return
        for chosen in combinations(left, int(sizes[part])):
            for i in chosen:
                row[i] = part
            yield from filled(part + 1, tuple(i for i in left if i not in chosen), row)

    yield from filled(0, tuple(range(len(start))), [0] * len(start))


def _number(start: np.ndarray, n_parts: int, keep_sizes: bool) -> float:
    """Return the number of assignments, infinite where it is very large."""
    if not keep_sizes:
        return float(n_parts) ** min(len(start), 100)
    if len(start) > 100:
        return math.inf
    sizes = np.bincount(start, minlength=n_parts)
    return math.factorial(len(start)) / math.prod(math.factorial(int(size)) for size in sizes)


def _hash(seed: int, name: str, part: int = -1) -> bytes:
    return hashlib.blake2b(f"{seed}\0{part}\0{name}".encode(), digest_size=8).digest()
