"""Substitutions, deletions and insertions of transcripts.

Several alignments of two texts can have the fewest errors; counted are the errors of one that has the most
substitutions among them, so that the three counts are defined. The counts of other tools (sclite, jiwer) have the same
sum and the same difference of deletions and insertions, and never more substitutions.
"""

from collections.abc import Sequence
from typing import NamedTuple

_ERROR = 1 << 32  # the cost of a substitution; a deletion or insertion costs 1 more, which decides between equal sums


class WordErrors(NamedTuple):
    """Errors of a transcript, and the number of units of its reference."""

    substitutions: int
    deletions: int
    insertions: int
    words: int


def count_errors(expected: Sequence[str], transcribed: Sequence[str]) -> WordErrors:
    """Return the errors of an alignment with the fewest of them (Levenshtein 1966); see the module.

    Args:
        expected: units of the reference
        transcribed: units of the transcript

    Examples:
        >>> count_errors("one two three".split(), "one too three four".split())
        WordErrors(substitutions=1, deletions=0, insertions=1, words=3)
    """
    n_words = len(expected)
    first = 0
    while first < min(len(expected), len(transcribed)) and expected[first] == transcribed[first]:
        first += 1
    expected, transcribed = expected[first:], transcribed[first:]
    gap = _ERROR + 1
    costs = [gap * j for j in range(len(transcribed) + 1)]
    for i, word in enumerate(expected, start=1):
        diagonal, costs[0] = costs[0], gap * i
        for j, other in enumerate(transcribed, start=1):
            best = min(diagonal + (word != other) * _ERROR, costs[j] + gap, costs[j - 1] + gap)
            diagonal, costs[j] = costs[j], best
    errors, gaps = divmod(costs[-1], _ERROR)
    deletions = (gaps + len(expected) - len(transcribed)) // 2
    return WordErrors(errors - gaps, deletions, gaps - deletions, n_words)
