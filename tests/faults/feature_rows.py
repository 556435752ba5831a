"""Rows of features and their labels, each kind with one thing odd: what classifiers take, may refuse, and refuse."""

from collections.abc import Callable

import numpy as np

Rows = tuple[np.ndarray, np.ndarray]


def drawn(n: int = 60, width: int = 5, classes: int = 3, seed: int = 0) -> Rows:
    """Return rows of Gaussian classes and their labels."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    return rng.normal(size=(n, width)) + 2 * rng.normal(size=(classes, width))[truth], truth


def singular() -> Rows:
    features, truth = drawn()
    return np.column_stack([features, features[:, 0] + features[:, 1]]), truth


def constant() -> Rows:
    features, truth = drawn()
    return np.column_stack([features, np.full(len(features), 7.0)]), truth


def one_row_each() -> Rows:
    features, truth = drawn(4, 3, 3)
    return features, truth  # class 0 has two rows, the others one


def unequal() -> Rows:
    features, truth = drawn(300)
    kept = (truth == 0) | (np.arange(300) < 6)
    return features[kept], truth[kept]


def repeated() -> Rows:
    features, truth = drawn(6)
    return np.repeat(features, 10, axis=0), np.repeat(truth, 10)


def scaled(factor: float) -> Callable[[], Rows]:
    return lambda: (drawn()[0] * factor, drawn()[1])


def mixed_scales() -> Rows:
    features, truth = drawn()
    return features * np.array([1e-6, 1.0, 1e6, 1e3, 1e-3]), truth


def spread(offset: float) -> Callable[[], Rows]:
    return lambda: (drawn()[0] + offset, drawn()[1])


GOOD: list[tuple[str, Callable[[], Rows]]] = [
    ("a feature that is a sum of others", singular),
    ("fewer rows than dimensions", lambda: drawn(12, 40)),
    ("a constant feature", constant),
    ("two classes", lambda: drawn(classes=2)),
    ("one feature", lambda: drawn(width=1)),
    ("classes of one row", one_row_each),
    ("200 rows against two", unequal),
    ("every row ten times", repeated),
    ("labels 3 and 7 alone", lambda: (drawn(classes=2)[0], drawn(classes=2)[1] * 4 + 3)),
]
EXTREME: list[tuple[str, Callable[[], Rows]]] = [
    ("values of 1e-150", scaled(1e-150)),
    ("values of 1e100", scaled(1e100)),
    ("values of 1e200", scaled(1e200)),
    ("scales twelve orders apart", mixed_scales),
    ("an offset of 1e6", spread(1e6)),
]
BAD: list[tuple[str, Callable[[], Rows], str]] = [
    ("one class alone", lambda: (drawn()[0], np.zeros(60, int)), "hold 1 classes, a classifier needs at least two"),
    ("no row", lambda: (np.zeros((0, 3)), np.zeros(0, int)), "hold 0 classes"),
    ("NaN", lambda: (np.where(np.arange(5) == 2, np.nan, drawn()[0]), drawn()[1]), "row 0 are not finite"),
    ("infinity", lambda: (np.where(np.arange(5) == 2, np.inf, drawn()[0]), drawn()[1]), "row 0 are not finite"),
]
