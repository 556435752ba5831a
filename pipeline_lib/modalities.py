"""Modalities that an expert can read, as data: a new one is a row here, a loader and a reader.

A loader makes its encoder (``encoders.load.LOADERS``), a reader its inputs (``experts.utterances.READERS``).

A *combination* is a set of modalities, joined by ``+`` in the order below (``audio``, ``audio+text``), or ``both``, all
modalities of an expert.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

BOTH = "both"
JOINED = "+"


@dataclass(frozen=True)
class Modality:
    """One modality.

    Attributes:
        name: in params.yaml, in files and in the names of a network's parameters
        column: of the manifest; an utterance has the modality where it is not null
        unit: of an utterance's length, seconds or characters
        slot: role in an entry's ``reads``
    """

    name: str
    column: str
    unit: str
    slot: str


MODALITIES: dict[str, Modality] = {
    "audio": Modality("audio", column="audio", unit="seconds", slot="audio"),
    "text": Modality("text", column="reference_text", unit="characters", slot="text"),
}  # in this order everywhere


def known_modality(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: there is no such modality
    """
    if name not in MODALITIES:
        raise ValueError(f"{name!r} is no modality, expected one of {list(MODALITIES)}")
    return name


def known_combination(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: it is neither ``both`` nor modalities joined by ``+``, each once and in their order
    """
    if name != BOTH:
        expected = JOINED.join(members(name, tuple(MODALITIES)))
        if name != expected:
            raise ValueError(f"{name!r} names its modalities in another order, expected {expected!r}")
    return name


def members(combination: str, modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities of a combination, in the order of ``modalities``.

    Args:
        combination: ``both`` for all, or names joined by ``+``
        modalities: of the expert

    Raises:
        ValueError: a name is not among them, or stands twice
    """
    if combination == BOTH:
        return tuple(modalities)
    names = combination.split(JOINED)
    if len(set(names)) < len(names) or not set(names) <= set(modalities):
        raise ValueError(
            f"combination is {combination!r}, expected {BOTH!r}, or some of {list(modalities)} joined by {JOINED!r},"
            " each once"
        )
    return tuple(name for name in modalities if name in names)


def parts_of(modalities: Iterable[str]) -> list[str]:
    """Return the combinations of some modalities but not of all: each alone first, then pairs, and so on.

    Args:
        modalities: of the expert, in order; of one there is none
    """
    names = tuple(modalities)
    return [JOINED.join(chosen) for size in range(1, len(names)) for chosen in combinations(names, size)]


def combinations_of(modalities: Iterable[str]) -> list[str]:
    """Return all combinations of an expert's modalities, ``both`` last.

    Args:
        modalities: of the expert, in order
    """
    return [*parts_of(modalities), BOTH]
