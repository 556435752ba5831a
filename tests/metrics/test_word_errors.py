"""Kinds of word errors: by hand, against every alignment, and against jiwer."""

import doctest
from functools import cache

import jiwer
import numpy as np
import pytest

from pipeline_lib.metrics import word_errors
from pipeline_lib.metrics.word_errors import count_errors


def every_alignment(expected, transcribed):
    """Return the (errors, -substitutions, deletions, insertions) of the best of all alignments."""

    @cache
    def best(i, j):
        if i == len(expected) or j == len(transcribed):
            deletions, insertions = len(expected) - i, len(transcribed) - j
            return (deletions + insertions, 0, deletions, insertions)
        wrong = int(expected[i] != transcribed[j])
        e, s, d, n = best(i + 1, j + 1)
        options = [(e + wrong, s - wrong, d, n)]
        e, s, d, n = best(i + 1, j)
        options.append((e + 1, s, d + 1, n))
        e, s, d, n = best(i, j + 1)
        options.append((e + 1, s, d, n + 1))
        return min(options)

    return best(0, 0)


@pytest.mark.parametrize(
    ("expected", "transcribed", "counts"),
    [
        ("kids are talking", "kids are walking", (1, 0, 0, 3)),
        ("kids are talking", "", (0, 3, 0, 3)),
        ("", "dogs bark", (0, 0, 2, 0)),
        ("a b c d", "b c d e", (0, 1, 1, 4)),
        ("a b", "b a", (2, 0, 0, 2)),  # a deletion and an insertion are two errors as well
        ("a a b", "a b", (0, 1, 0, 3)),
    ],
)
def test_counts_worked_out_by_hand(expected, transcribed, counts):
    assert count_errors(expected.split(), transcribed.split()) == counts


def test_counts_are_those_of_the_best_of_all_alignments_and_sum_to_jiwers():
    generator = np.random.default_rng(7)
    for _ in range(300):
        expected, transcribed = (list(generator.choice([*"abcd"], generator.integers(1, 8))) for _ in range(2))
        counts = count_errors(expected, transcribed)
        errors, substitutions, deletions, insertions = every_alignment(tuple(expected), tuple(transcribed))
        assert counts == (-substitutions, deletions, insertions, len(expected))
        theirs = jiwer.process_words(" ".join(expected), " ".join(transcribed))
        assert theirs.substitutions + theirs.deletions + theirs.insertions == errors
        assert theirs.deletions - theirs.insertions == deletions - insertions
        assert theirs.substitutions <= counts.substitutions


def test_the_examples_run():
    assert doctest.testmod(word_errors).failed == 0
