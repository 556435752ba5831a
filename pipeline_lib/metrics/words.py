"""Words of transcripts: normalisation, counting, and the word error rate.

The unit of an error rate is the word; inside a word, each character of a script that is written without blanks between
words (``WITHOUT_BLANKS``: Han, Kana, Thai ...) is a unit of its own. So Chinese, Japanese and Thai are scored by
characters, as is custom (CER), everything else, Korean among it, by words, and mixed text by both (the "mixed error
rate" of code-switched speech). Characters are Unicode's, after NFKC: a Thai vowel or tone mark counts as one.

Marks in brackets are no words: ``[LAUGHTER]``, ``<noise>``, ``{breath}``, ``【music】`` are left out on both sides, as
Whisper's own normaliser does; it leaves out text in round brackets as well, which stays here, as it is spoken.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from pipeline_lib.metrics.word_errors import count_errors

_OF_WORDS = ("L", "M", "N")  # Unicode's letters, the marks that belong to them, and numbers
_MARK = re.compile(r"\[[^\[\]]*\]|<[^<>\s][^<>]*>|\{[^{}]*\}|【[^【】]*】|［[^［］]*］")
WITHOUT_BLANKS = (  # how Unicode's names of their characters begin
    "BALINESE ",
    "BOPOMOFO ",
    "CJK COMPATIBILITY IDEOGRAPH",
    "CJK UNIFIED IDEOGRAPH",
    "HENTAIGANA ",
    "HIRAGANA ",
    "IDEOGRAPHIC ",
    "JAVANESE ",
    "KATAKANA ",
    "KATAKANA-HIRAGANA ",
    "KHMER ",
    "LAO ",
    "MYANMAR ",
    "NEW TAI LUE ",
    "TAI LE ",
    "TAI THAM ",
    "THAI ",
    "YI SYLLABLE ",
)


def without_marks(text: str) -> str:
    """Return the text without marks in square, angle or curly brackets, blanks made single.

    Examples:
        >>> without_marks("[LAUGHTER] Well, I don't know. [BREATHING]")
        "Well, I don't know."
    """
    return " ".join(_MARK.sub(" ", text).split())


def count_marks(text: str) -> int:
    """Return the number of marks that ``without_marks`` removes."""
    return len(_MARK.findall(text))


def normalise_words(text: str) -> str:
    """Return lower-case words with single spaces between them, as both sides of a word error rate are compared.

    Marks in brackets are left out. Unicode is brought to its compatibility form (NFKC). A typographic apostrophe
    becomes ``'`` and is kept inside a word ("don't"), dropped at its edges ("'tis" is "tis"). All other punctuation and
    symbols, hyphens included, separate words. Digits stay digits: "2" and "two" differ.

    Examples:
        >>> normalise_words("  Well-known: DON’T\tgo, 'kids'! [LAUGHTER]")
        "well known don't go kids"
    """
    folded = unicodedata.normalize("NFKC", without_marks(text)).lower().replace("\u2019", "'").replace("\u02bc", "'")
    spaced = "".join(c if c == "'" or unicodedata.category(c)[0] in _OF_WORDS else " " for c in folded)
    words = (word.strip("'") for word in spaced.split())
    return " ".join(word for word in words if word)


@lru_cache(maxsize=1 << 16)
def without_blanks(character: str) -> bool:
    """Return whether the character belongs to a script that is written without blanks between words."""
    return unicodedata.name(character, "").startswith(WITHOUT_BLANKS)


def units(text: str) -> list[str]:
    """Return the units of an error rate: words, and the characters of scripts without blanks; see the module.

    Examples:
        >>> units("我用 Whisper!")
        ['我', '用', 'whisper']
    """
    spaced = "".join(f" {c} " if without_blanks(c) else c for c in normalise_words(text))
    return spaced.split()


def unit_name(texts: Sequence[str]) -> str:
    """Return the name of the texts' units: "words", "characters", or "words and characters"."""
    kinds = {without_blanks(unit[0]) for text in texts for unit in units(text)}
    return {frozenset({True}): "characters", frozenset({True, False}): "words and characters"}.get(
        frozenset(kinds), "words"
    )


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Return the fewest substitutions, deletions and insertions, and the reference's number of units.

    The edit distance of Levenshtein 1966 over units. Both texts are normalised first, see ``units``.

    Args:
        reference: transcript of what was spoken
        hypothesis: transcript of the ASR

    Returns:
        errors ∈ [0, max(units of either)], and units of the reference

    Examples:
        >>> word_errors("one two three", "one too three four")  # a substitution, an insertion
        (2, 3)
    """
    counted = count_errors(units(reference), units(hypothesis))
    return counted.substitutions + counted.deletions + counted.insertions, counted.words


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Errors of all utterances divided by the units of all references.

    Texts are normalised first, see ``units``. What is transcribed where the reference is empty counts as insertions.

    Args:
        references: transcripts of what was spoken, one an utterance
        hypotheses: transcripts of the ASR, in the same order

    Returns:
        rate ∈ [0, inf); above 1 where more is transcribed than was spoken

    Raises:
        ValueError: different lengths, or no word in any reference

    Examples:
        >>> word_error_rate(["one two three", "four"], ["one too three", "for four"])  # 2 errors in 4 words
        0.5
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references, {len(hypotheses)} hypotheses")
    counts = [word_errors(*pair) for pair in zip(references, hypotheses, strict=True)]
    n_units = sum(n for _, n in counts)
    if n_units == 0:
        raise ValueError(f"no word in any of {len(references)} references, a word error rate needs one")
    return sum(errors for errors, _ in counts) / n_units
