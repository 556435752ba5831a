"""Spellings of emotions in the labels of other people's corpora, and the merge that is proposed for them.

A spelling stands under one emotion alone, so that a proposal never guesses: codes of one letter are read as
MSP-Podcast's only where all labels of the corpus are such letters, and emotions that some authors count as one (excited
and happiness) stay apart.
"""

from collections.abc import Iterable, Mapping

from pipeline_lib.labels import LETTERS, PSEUDO

SPELLINGS: dict[str, tuple[str, ...]] = {  # emotion -> its other spellings, in lower case
    "anger": ("angry", "ang", "mad", "wut", "ärger", "wütend", "colère", "enfado", "enojo", "ira", "rabbia", "złość"),
    "boredom": ("bored", "bor", "langeweile"),
    "calm": ("cal", "calmness"),
    "contempt": ("contemptuous", "con"),
    "disgust": ("disgusted", "dis", "ekel", "dégoût", "asco", "disgusto", "wstręt"),
    "excited": ("excitement", "exc"),
    "fear": ("fearful", "fea", "scared", "afraid", "angst", "peur", "miedo", "paura", "strach"),
    "frustration": ("frustrated", "fru"),
    "happiness": ("happy", "hap", "joy", "joyful", "freude", "fröhlich", "joie", "alegría", "gioia", "radość"),
    "neutral": ("neu", "neutrality", "neutre", "neutro", "neutrale", "neutralny"),
    "sadness": ("sad", "trauer", "traurig", "tristesse", "tristeza", "tristezza", "smutek"),
    "surprise": ("surprised", "sur", "ps", "pleasant surprise", "pleasant surprised", "überraschung", "sorpresa"),
}
EMOTION_OF = {spelling: emotion for emotion, others in SPELLINGS.items() for spelling in (emotion, *others)}
NO_LABEL = frozenset(("other", "oth", "unknown", "undefined", "unlabelled", "unlabeled", "unrated", "missing", "xxx"))


def folded(label: str) -> str:
    """Return a label in lower case, with blanks in place of ``_`` and ``-``."""
    return " ".join(label.replace("_", " ").replace("-", " ").split()).casefold()


def emotion_of(label: str) -> str | None:
    """Return the emotion that a label spells, None where it is not in the list.

    Examples:
        >>> emotion_of("Angry"), emotion_of("pleasant_surprise"), emotion_of("A"), emotion_of("class1")
        ('anger', 'surprise', None, None)
    """
    return EMOTION_OF.get(folded(label))


def merge(labels: Iterable[str]) -> dict[str, str]:
    """Return the proposed ``corpus.merge``: label -> emotion, for each label that is another spelling of one.

    Args:
        labels: of the corpus, as they are written there

    Examples:
        >>> merge(["angry", "anger", "hot"]), merge(["A", "H", "X"])
        ({'angry': 'anger'}, {'A': 'anger', 'H': 'happiness'})
    """
    names = sorted(labels)
    of_letters = {*names} <= {*LETTERS, *PSEUDO}
    emotions = {name: LETTERS.get(name) if of_letters else emotion_of(name) for name in names}
    return {name: emotion for name, emotion in emotions.items() if emotion is not None and emotion != name}


def one_spelling(counts: Mapping[str, int]) -> dict[str, str]:
    """Return label -> its most frequent spelling, for labels that differ in capitals and blanks only.

    Args:
        counts: label -> number of utterances
    """
    best: dict[str, str] = {}
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        best.setdefault(folded(name), name)
    return {name: best[folded(name)] for name in counts if best[folded(name)] != name}
