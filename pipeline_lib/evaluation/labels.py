"""Labels that a system and another corpus have in common, and a posterior over these alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO


@dataclass(frozen=True)
class Common:
    """Labels in common.

    Attributes:
        labels: the system's names of them, in its order
        names: emotion of the corpus -> label of the system, of those that count
        merged: label of the system -> label of the system that it counts as
        left_out: emotion of the corpus without a counterpart -> number of utterances
        unlabelled: number of utterances without an emotion, or with other (O) or no agreement (X)
    """

    labels: tuple[str, ...]
    names: Mapping[str, str]
    merged: Mapping[str, str]
    left_out: Mapping[str, int]
    unlabelled: int

    def sentence(self) -> str:
        """Return what counts as what and what is left out, with counts."""
        renamed = [f"{theirs} counts as {ours}" for theirs, ours in self.names.items() if theirs != ours]
        renamed += [f"the system's {one} counts as {other}" for one, other in self.merged.items()]
        parts = [f"{len(self.labels)} labels in common: {', '.join(self.labels)}", *renamed]
        if self.left_out:
            counts = ", ".join(f"{label} {n}" for label, n in self.left_out.items())
            parts.append(f"without a counterpart, and left out of the scores: {counts}")
        if self.unlabelled:
            parts.append(f"{self.unlabelled} utterances without a label are left out too")
        return "; ".join(parts) + "."


def read_pairs(text: str | None, option: str) -> dict[str, str]:
    """Return pairs ``a=b,c=d`` as a mapping.

    Args:
        text: the pairs; None for none
        option: that holds them, for messages

    Raises:
        InputError: a part is no pair, or a name stands on the left twice
    """
    pairs: dict[str, str] = {}
    for part in (text or "").split(","):
        left, equals, right = (each.strip() for each in part.partition("="))
        if not part.strip():
            continue
        if not (left and equals and right):
            raise InputError(f"{option} holds {part.strip()!r}, expected pairs such as anger=angry,joy=happiness")
        if left in pairs:
            raise InputError(f"{option} names {left!r} twice, expected one counterpart")
        pairs[left] = right
    return pairs


def common(
    emotions: Iterable[str | None], labels: Sequence[str], names: Mapping[str, str], merged: Mapping[str, str]
) -> Common:
    """Return the labels in common; an emotion that is named nowhere counts as the label of its own name.

    Args:
        emotions: of the corpus, one an utterance
        labels: of the system, in order, without O and X
        names: emotion of the corpus -> label of the system
        merged: label of the system -> another that it counts as

    Raises:
        InputError: a name is unknown, or fewer than two labels are in common
    """
    counts = Counter(emotion for emotion in emotions if emotion is not None and emotion not in PSEUDO)
    unlabelled = sum(emotion is None or emotion in PSEUDO for emotion in emotions)
    _refuse_unknown(merged, labels, "--merge", "the system's labels are")
    _refuse_unknown(merged.values(), labels, "--merge", "the system's labels are")
    if chained := sorted({*merged} & {*merged.values()}):
        raise InputError(f"--merge turns {chained} into another and another into it; name the last one")
    kept = [label for label in labels if label not in merged]
    _refuse_unknown(names, sorted(counts), "--map", "the corpus has the emotions")
    _refuse_unknown(names.values(), kept, "--map", "the system's labels are")
    known = {emotion: names.get(emotion, emotion) for emotion in sorted(counts)}
    counted = {emotion: label for emotion, label in known.items() if label in kept}
    shared = tuple(label for label in kept if label in counted.values())
    if len(shared) < 2:
        raise InputError(
            f"the labels in common are {list(shared)}, expected two or more: the corpus has {sorted(counts)}, the"
            f" system {kept}; name counterparts, --map THEIRS=OURS"
        )
    left_out = {emotion: n for emotion, n in sorted(counts.items()) if emotion not in counted}
    return Common(shared, counted, dict(merged), left_out, unlabelled)


def summed(posterior: np.ndarray, labels: Sequence[str], of: Common) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the posterior over all labels of the system, those in common first, merged ones added.

    Args:
        posterior: shape ``(n, len(labels))``
        labels: of its columns; O and X may be among them
        of: the labels in common

    Returns:
        shape ``(n, n_all)``, rows of the same sum, and the labels of its columns
    """
    others = [label for label in labels if label not in (*of.labels, *of.merged)]
    every = (*of.labels, *others)
    result = np.zeros((len(posterior), len(every)))
    for column, label in zip(posterior.T, labels, strict=True):
        result[:, every.index(of.merged.get(label, label))] += column
    return result, every


def restricted(posterior: np.ndarray, labels: Sequence[str], of: Common) -> np.ndarray:
    """Return the posterior given that the label is one of those in common.

    Args:
        posterior: shape ``(n, len(labels))``
        labels: of its columns
        of: the labels in common

    Returns:
        shape ``(n, n_common)``, rows sum to 1; a row with nothing left is spread evenly
    """
    columns = summed(posterior, labels, of)[0][:, : len(of.labels)]
    total = columns.sum(axis=1, keepdims=True)
    return np.where(total > 0, columns / np.where(total > 0, total, 1), 1 / len(of.labels))


def _refuse_unknown(names: Iterable[str], known: Sequence[str], option: str, what: str) -> None:
    """Refuse a name that is not known, and say which is nearest."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"{option} names {name!r}{meant}; {what} {list(known)}")
