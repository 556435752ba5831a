"""Modalities that an utterance has, and the combinations that it takes part in."""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline_lib.modalities import BOTH, members, parts_of


def shows(present: np.ndarray, modalities: Sequence[str], combination: str) -> np.ndarray:
    """Return which utterances have all modalities of a combination; of ``both`` any of the expert's will do.

    Args:
        present: which modalities an utterance has, bool, shape ``(n, n_branches)``
        modalities: of the columns
        combination: modalities joined by ``+``, or ``both`` for all

    Returns:
        bool, shape ``(n,)``
    """
    if combination == BOTH:
        return np.logical_or.reduce(present, axis=1)
    columns = [modalities.index(name) for name in members(combination, modalities)]
    return np.logical_and.reduce(present[:, columns], axis=1)


def takes_part(present: np.ndarray, modalities: Sequence[str], passes: Iterable[str]) -> np.ndarray:
    """Return which utterances take part in any of the passes; all that have anything where no pass is named.

    Args:
        present: which modalities an utterance has, bool, shape ``(n, n_branches)``
        modalities: of the columns
        passes: combinations

    Returns:
        bool, shape ``(n,)``
    """
    return np.logical_or.reduce([shows(present, modalities, name) for name in list(passes) or [BOTH]])


def measured_combinations(shown: str | None, passes: Sequence[str]) -> list[str]:
    """Return the combinations in which a phase measures the development utterances.

    Args:
        shown: ``early_stopping.shown``, None for all of the phase's passes together
        passes: of the phase
    """
    return list(passes) if shown is None else [shown]


def presence_lines(present: np.ndarray, modalities: Sequence[str]) -> list[str]:
    """Return lines that count utterances by modality; of an expert of one modality a line where some lack it.

    Args:
        present: which modalities an utterance has, bool, shape ``(n, n_branches)``
        modalities: of the columns
    """
    nothing = int((~present.any(axis=1)).sum())
    if len(modalities) == 1:
        lack = f"{nothing} of {len(present)} utterances have no {modalities[0]}"
        return [f"{lack} and are neither trained on nor predicted"] if nothing else []
    counts = []
    for combination in parts_of(modalities):
        has = np.array([name in members(combination, modalities) for name in modalities])
        names = " and ".join(members(combination, modalities))
        counts.append(f"{int((present == has).all(axis=1).sum())} with {names} alone")
    whole = f"{int(present.all(axis=1).sum())} utterances with {' and '.join(modalities)}"
    return [", ".join([whole, *counts, f"{nothing} with {'neither' if len(modalities) == 2 else 'none'}"])]
