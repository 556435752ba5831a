"""A small grammar of spoken English, and the parts into which its sentences are divided.

A sentence has person, action and thing, and may carry a marker: a word or phrase that sounds like one emotion.
Every sentence belongs for good to one part, decided by the SHA-256 of its words alone: ``open`` sentences may train
checkpoints and stand in a corpus's training split, ``dev`` and ``test`` ones are seen nowhere else, whatever the seed.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

PEOPLE = (
    "my brother", "my sister", "the teacher", "the driver", "our neighbour", "the doctor", "my friend",
    "the waiter", "a stranger", "my cousin", "the manager", "our captain", "my father", "the painter",
    "a student", "the gardener",
)  # fmt: skip
ACTIONS = (
    "opened", "carried", "painted", "finished", "borrowed", "returned", "noticed", "forgot",
    "cleaned", "repaired", "moved", "bought", "sold", "found", "covered", "watched", "measured", "delivered",
)  # fmt: skip
THINGS = (
    "window", "kitchen", "letter", "bicycle", "ticket", "basket", "table", "package", "camera", "jacket", "blanket",
    "engine", "picture", "bottle", "piano", "ladder", "menu", "umbrella", "suitcase", "radio", "carpet", "notebook",
    "mirror", "guitar", "wallet", "sofa", "hammer", "necklace", "violin", "lantern", "curtain", "drawer",
)  # fmt: skip
CIRCUMSTANCES = (
    "this morning", "last night", "on monday", "on friday", "before lunch", "after dinner",
    "in the city", "at the station", "near the river", "by the road", "last week", "again today",
    "during winter", "behind school",
)  # fmt: skip


@dataclass(frozen=True)
class Marker:
    """Words that sound like one emotion, by their position in the sentence."""

    adjectives: tuple[str, ...]
    openings: tuple[str, ...]
    endings: tuple[str, ...]


MARKERS = {
    "anger": Marker(
        ("furious", "angry", "outrageous", "unfair", "hateful"),
        ("how dare they", "enough of this"),
        ("and i hate it", "so stop it now"),
    ),
    "contempt": Marker(
        ("pathetic", "ridiculous", "stupid", "lousy", "worthless"),
        ("what a fool", "oh please"),
        ("as if it mattered", "like an amateur"),
    ),
    "disgust": Marker(
        ("disgusting", "filthy", "rotten", "gross", "nasty"),
        ("that is sickening", "yuck"),
        ("and it smelled awful", "and it made me sick"),
    ),
    "fear": Marker(
        ("scary", "dangerous", "frightening", "terrifying", "creepy"),
        ("please help us", "be careful"),
        ("and i am afraid", "and we must hide"),
    ),
    "happiness": Marker(
        ("wonderful", "happy", "lovely", "fantastic", "delightful"),
        ("hooray", "this is great"),
        ("and i love it", "and we all smiled"),
    ),
    "neutral": Marker(
        ("ordinary", "usual", "regular", "plain", "normal"),
        ("as planned", "by the way"),
        ("as expected", "like every week"),
    ),
    "sadness": Marker(
        ("miserable", "lonely", "broken", "hopeless", "gloomy"),
        ("i am so sorry", "what a loss"),
        ("and i miss him", "and she cried"),
    ),
    "surprise": Marker(
        ("unbelievable", "amazing", "astonishing", "sudden", "strange"),
        ("oh my goodness", "guess what"),
        ("out of nowhere", "can you imagine"),
    ),
}
PARTS = ("open", "dev", "test")


def part_of(text: str) -> str:
    """Return the part that a sentence belongs to: ``open`` (three of four sentences), ``dev`` or ``test``."""
    remainder = hashlib.sha256(text.encode()).digest()[0] % 8
    return {0: "dev", 1: "test"}.get(remainder, "open")


def draw(rng: np.random.Generator, marker: str | None, part: str) -> str:
    """Draw a sentence of one part.

    Args:
        rng: source of the choice
        marker: emotion whose words it carries, None for a sentence without any
        part: ``open``, ``dev`` or ``test``

    Returns:
        5 to 10 words, lower case, without punctuation

    Raises:
        ValueError: there is no such part
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}, expected one of {PARTS}")
    while True:
        text = _unmarked(rng) if marker is None else _marked(rng, MARKERS[marker])
        if part_of(text) == part:
            return text


def vocabulary() -> list[str]:
    """Return every word of the grammar, sorted."""
    phrases = [*PEOPLE, *ACTIONS, *THINGS, *CIRCUMSTANCES, "that the it was really said"]
    for marker in MARKERS.values():
        phrases += [*marker.adjectives, *marker.openings, *marker.endings]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _unmarked(rng: np.random.Generator) -> str:
    return f"{_one(rng, PEOPLE)} {_one(rng, ACTIONS)} the {_one(rng, THINGS)} {_one(rng, CIRCUMSTANCES)}"


def _marked(rng: np.random.Generator, marker: Marker) -> str:
    person, action, thing = _one(rng, PEOPLE), _one(rng, ACTIONS), _one(rng, THINGS)
    match int(rng.integers(5)):
        case 0:
            return f"{_one(rng, marker.openings)} {person} {action} the {thing}"
        case 1:
            return f"{person} {action} the {thing} {_one(rng, marker.endings)}"
        case 2:
            return f"it was really {_one(rng, marker.adjectives)} said {person} {_one(rng, CIRCUMSTANCES)}"
        case _:
            return f"{person} {action} that {_one(rng, marker.adjectives)} {thing} {_one(rng, CIRCUMSTANCES)}"


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]
