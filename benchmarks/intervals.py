"""Coverage of the intervals over speakers, and what the test of a difference detects, on simulated corpora.

``python -m benchmarks.intervals`` draws corpora of speakers with skills, label shares and favourite errors of their own
(a label's difficulty is everybody's), scores each, and counts how often the interval holds the score over all speakers.
The formulas are those of ``scoring.intervals``, applied to all corpora at once. Columns: jackknife-t as the report
prints it, the percentile bootstrap over speakers (``scoring.intervals.method``), both levels resampled (speakers, then
their utterances) where speakers are few, and the jackknife over utterances alone, which nothing prints. A label without
an utterance left keeps its score, as everywhere.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline_lib.command import run
from pipeline_lib.metrics.categories import f1_of
from pipeline_lib.metrics.jackknife import degrees_of_freedom, standard_error, student, within_span
from pipeline_lib.robustness.report import processor
from pipeline_lib.scoring.tallies import by_label

SHARES = np.array([0.35, 0.22, 0.16, 0.12, 0.09, 0.06])
EASE = {"middling": np.array([0.9, 0.4, 0.1, -0.2, -0.4, -0.6]), "high": np.array([3.9, 3.4, 3.1, 2.8, 2.6, 2.4])}
K, UTTERANCES, CONFIDENCE = 6, 30, 0.95
BOOTSTRAP, OF_BOTH_LEVELS = 1000, 300  # resamples
SKILL, RELATIVE, ALIKE, FAVOURITE = 0.7, 0.5, 8.0, 1.5  # deviations of logits; concentrations of Dirichlet draws
EVERYBODY = 200_000  # speakers whose expected confusions are the truth
CELLS = [(2, False), (3, False), (4, False), (5, False), (6, False), (12, False), (24, False), (50, False), (50, True)]
CELLS += [(6, True), (12, True)]
TWO_LEVELS = 4  # speakers, at most


@dataclass(frozen=True)
class Corpora:
    """Simulated corpora and two systems on each.

    Attributes:
        counts: confusions by system, each of shape ``(n_speakers, n_corpora, K, K)``
        expected: the same without the chance of the draw of utterances
    """

    counts: list[np.ndarray]
    expected: list[np.ndarray]


def draw(
    generator: np.random.Generator, speakers: int, corpora: int, ease: np.ndarray, unequal: bool, each: int = UTTERANCES
) -> Corpora:
    """Return corpora whose speakers have ``each`` utterances, or as many on average, log-normal with deviation 1."""
    shape = (speakers, corpora)
    sizes = np.full(shape, each)
    if unequal:
        sizes = np.maximum(1, (each * np.exp(generator.normal(-0.5, 1.0, shape))).round()).astype(np.int64)
    shares = generator.dirichlet(ALIKE * SHARES, shape)
    true = generator.multinomial(sizes, shares)
    skill = generator.normal(0.2, SKILL, (*shape, 1))
    counts, expected = [], []
    for _ in range(2):
        right = 1 / (1 + np.exp(-(skill + generator.normal(0, RELATIVE, (*shape, 1)) + ease)))
        favourite = generator.dirichlet(np.full(K, FAVOURITE), shape)[..., None, :] * (1 - np.eye(K))
        wrong = (1 - right)[..., None] * favourite / favourite.sum(axis=-1, keepdims=True)
        chosen = right[..., None] * np.eye(K) + wrong
        counts.append(generator.multinomial(true, chosen / chosen.sum(axis=-1, keepdims=True)).astype(np.float64))
        expected.append((sizes[..., None] * shares)[..., None] * chosen)
    return Corpora(counts, expected)


def macro(cells: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return macro-F1 of confusions, shape ``(..., K, K)``, with the labels of the whole split."""
    return by_label(f1_of, whole)(cells).mean(axis=-1)


def jackknife(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of each corpus as ``scoring.intervals`` has them, each of shape ``(n_corpora,)``."""
    whole = counts.sum(axis=0)
    error = standard_error(macro(whole - counts, whole))
    freedom = degrees_of_freedom(counts.sum(axis=(2, 3)))
    return within_span(macro(whole, whole), student(freedom, (1 + CONFIDENCE) / 2) * error, (0.0, 1.0))


def utterances(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds as if every utterance were a speaker: leaving one of a cell out, weighted by the cell's count."""
    whole = counts.sum(axis=0)
    n = whole.sum(axis=(1, 2))
    one = np.eye(K * K).reshape(K * K, 1, K, K)
    left = macro(np.maximum(whole - one, 0), whole)
    weights = whole.reshape(len(whole), K * K).T
    mean = (weights * left).sum(axis=0) / n
    error = np.sqrt((n - 1) / n * (weights * (left - mean) ** 2).sum(axis=0))
    return within_span(macro(whole, whole), student(n - 1, (1 + CONFIDENCE) / 2) * error, (0.0, 1.0))


def percentile(
    generator: np.random.Generator, counts: np.ndarray, both_levels: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the bootstrap over speakers, or over these and their utterances."""
    n, whole = len(counts), counts.sum(axis=0)
    samples = OF_BOTH_LEVELS if both_levels else BOOTSTRAP
    times = generator.multinomial(n, np.full(n, 1 / n), samples).astype(np.float64)
    scores = np.empty((samples, len(whole)))
    sizes = counts.sum(axis=(2, 3)).astype(np.int64)
    shares = (counts / sizes[..., None, None]).reshape(*sizes.shape, K * K)
    for i, row in enumerate(times):
        if both_levels:
            # a speaker drawn k times is one with k times the utterances: the sums have the same distribution
            drawn = generator.multinomial((sizes * row[:, None]).astype(np.int64), shares).sum(axis=0)
            scores[i] = macro(drawn.reshape(-1, K, K).astype(np.float64), whole)
        else:
            scores[i] = macro(np.tensordot(row, counts, 1), whole)
    low, high = np.quantile(scores, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def differences(generator: np.random.Generator, counts: list[np.ndarray]) -> tuple[float, float, float]:
    """Return how often the intervals of a difference of equal systems leave out 0, and how often the swap test does.

    The interval by jackknife-t, that of the percentile bootstrap, and the test at 0.05 with every swap.
    """
    whole = [each.sum(axis=0) for each in counts]
    gain = macro(whole[0], whole[0]) - macro(whole[1], whole[1])
    left = [macro(all_of - each, all_of) for all_of, each in zip(whole, counts, strict=True)]
    half = student(degrees_of_freedom(counts[0].sum(axis=(2, 3))), (1 + CONFIDENCE) / 2)
    jackknifed = np.mean(np.abs(gain) > half * standard_error(left[0] - left[1]))
    n = len(counts[0])
    scores = np.empty((BOOTSTRAP, len(gain)))
    for i, row in enumerate(generator.multinomial(n, np.full(n, 1 / n), BOOTSTRAP).astype(np.float64)):
        sums = [macro(np.tensordot(row, each, 1), of) for each, of in zip(counts, whole, strict=True)]
        scores[i] = sums[0] - sums[1]
    low, high = np.quantile(scores, [0.025, 0.975], axis=0)
    return float(jackknifed), float(np.mean((low > 0) | (high < 0))), float(np.mean(swap_p(counts) <= 0.05))


def swap_p(counts: list[np.ndarray]) -> np.ndarray:
    """Return the p-value of the swap test over all swaps, shape ``(n_corpora,)``; see ``scoring.permutation``."""
    n, whole = len(counts[0]), [each.sum(axis=0) for each in counts]
    observed = np.abs(macro(whole[0], whole[0]) - macro(whole[1], whole[1]))
    moves, large = counts[1] - counts[0], np.zeros(len(observed))
    for number in range(2 ** (n - 1)):
        swap = (number >> np.arange(n) & 1).astype(np.float64)
        moved = np.tensordot(swap, moves, 1)
        large += np.abs(macro(whole[0] + moved, whole[0]) - macro(whole[1] - moved, whole[1])) >= observed - 1e-12
    return large / 2 ** (n - 1)


def rows(corpora: int, seed: int, each: int) -> Iterator[str]:
    """Yield the lines of the table of coverage and that of differences."""
    columns = ("jackknife-t", "its width", "percentile", "speakers, then utterances", "utterances alone")
    yield f"| scores | speakers | macro-F1 | {' | '.join(columns)} |"
    yield f"|---|---|---|{'---|' * len(columns)}"
    for name, ease in EASE.items():
        truth = {}
        for unequal in (False, True):
            every = draw(np.random.default_rng([seed, 0, unequal]), EVERYBODY, 1, ease, unequal, each)
            expected = every.expected[0].sum(axis=0)
            truth[unequal] = float(macro(expected, expected)[0])
        for speakers, unequal in CELLS:
            generator = np.random.default_rng([seed, speakers, unequal])
            counts = draw(generator, speakers, corpora, ease, unequal, each).counts[0]
            low, high = jackknife(counts)
            covers = [
                coverage(truth[unequal], low, high),
                f"{np.mean(high - low):.2f}",
                coverage(truth[unequal], *percentile(generator, counts)),
                "",
                coverage(truth[unequal], *utterances(counts)),
            ]
            if speakers <= TWO_LEVELS:
                covers[3] = coverage(truth[unequal], *percentile(generator, counts, both_levels=True))
                covers[0] = f"— ({covers[0]})"
            words = f"{speakers} unequal" if unequal else str(speakers)
            yield f"| {name} | {words} | {truth[unequal]:.3f} | {' | '.join(covers)} |"
    yield ""
    yield "| two equal systems | speakers | jackknife-t leaves out 0 | percentile does | swap test, p ≤ 0.05 |"
    yield "|---|---|---|---|---|"
    for speakers, unequal in ((6, False), (12, False), (12, True)):
        generator = np.random.default_rng([seed, speakers, unequal, 2])
        counts = draw(generator, speakers, corpora, EASE["middling"], unequal, each).counts
        rates = differences(generator, counts)
        words = f"{speakers} unequal" if unequal else str(speakers)
        yield f"| middling | {words} | {' | '.join(f'{rate:.3f}' for rate in rates)} |"


def coverage(truth: float, low: np.ndarray, high: np.ndarray) -> str:
    """Return the share of corpora whose interval holds the truth."""
    return f"{np.mean((low <= truth) & (truth <= high)):.3f}"


def main(corpora: int = 2000, seed: int = 1, each: int = UTTERANCES) -> None:
    """Print the share of simulated corpora whose interval holds the score over all speakers."""
    for line in rows(corpora, seed, each):
        print(line, flush=True)
    print(
        f"\n{corpora} corpora a cell, {each} utterances a speaker, seed {seed}; {processor()};"
        f" {time.process_time():.0f} CPU s"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run(main)
