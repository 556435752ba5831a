"""Texts as Whisper's evaluation compares them (Radford et al. 2022, appendix C), by transformers' normalisers.

The English one writes contractions out ("don't" is "do not"), titles ("mr." is "mister"), numbers as digits ("two" is
"2"), British spellings as American ones, and leaves out "um" and what stands in round brackets; the basic one, for
other languages, leaves out punctuation, symbols and what stands in round brackets. Marks in brackets are left out by
both, as ``words`` does. ``english_spellings.json`` is the list of openai/whisper (``whisper/normalizers/english.json``,
MIT).
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from pipeline_lib.metrics.words import without_blanks, without_marks
from pipeline_lib.params.transcription import TranscriptionSettings

Normaliser = Literal["english", "basic"]
SPELLINGS = Path(__file__).with_name("english_spellings.json")


def normaliser_of(settings: TranscriptionSettings) -> Normaliser | None:
    """Return the normaliser for the engine's language, basic where it is detected; None for reference transcripts.

    Args:
        settings: the section ``transcription``
    """
    if settings.engine == "reference":
        return None
    language = settings.whisper.language if settings.engine == "whisper" else settings.canary.source_language
    return "english" if language in ("en", "english") else "basic"


def whisper_units(text: str, normaliser: Normaliser) -> list[str]:
    """Return the units of a Whisper-normalised text: words, and the characters of scripts without blanks.

    Args:
        text: a transcript
        normaliser: "english" or "basic"

    Examples:
        >>> whisper_units("[laughter] Mr. Brown doesn't like two colours", "english")
        ['mister', 'brown', 'does', 'not', 'like', '2', 'colors']
    """
    normalised = _function(normaliser)(without_marks(text))
    return "".join(f" {c} " if without_blanks(c) else c for c in normalised).split()


@cache
def _function(normaliser: Normaliser) -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    if normaliser == "english":
        return EnglishTextNormalizer(json.loads(SPELLINGS.read_text(encoding="utf-8")))
    return BasicTextNormalizer()
