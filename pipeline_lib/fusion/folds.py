"""Speaker-disjoint folds."""

import warnings
from collections.abc import Sequence

import numpy as np

from pipeline_lib.errors import InputError


def folds(truth: np.ndarray, speakers: Sequence[str | None], n_folds: int, seed: int) -> np.ndarray:
    """Return each utterance's fold, speakers undivided and labels as evenly spread as that allows.

    There are fewer folds than requested where there are fewer speakers, or where every label has fewer utterances. An
    utterance whose speaker is unknown is a speaker of its own. If all are of one speaker, every utterance is taken for
    a speaker of its own, and a warning is printed: the cross-fitted score is then of a known speaker.

    Args:
        truth: label indices, any integer where unknown, shape ``(n,)``
        speakers: of the utterances, length n, None where unknown
        n_folds: largest number of folds, 2 or more
        seed: of the order in which speakers are assigned

    Returns:
        fold indices from 0, int64, shape ``(n,)``, at least two different values

    Raises:
        InputError: there is only one utterance
    """
    from sklearn.model_selection import StratifiedGroupKFold  # scikit-learn takes 1.7 s to import

    n = len(truth)
    if n < 2:
        raise InputError(f"cross-fitting needs at least two tuning utterances, there are {n}")
    names = [f"speaker {s}" if s is not None else f"utterance {i}" for i, s in enumerate(speakers)]
    groups = np.unique(names, return_inverse=True)[1]
    if groups.max() == 0:
        print(f"warning: all {n} tuning utterances are of speaker {speakers[0]!r}; cross-fitting divides the speaker")
        groups = np.arange(n)
    counts = np.unique(truth, return_counts=True)[1]
    if counts.max() < 2:
        truth = np.zeros(n, dtype=np.int64)  # every label once: nothing to spread evenly
        counts = np.array([n])
    splitter = StratifiedGroupKFold(min(n_folds, groups.max() + 1, counts.max()), shuffle=True, random_state=seed)
    fold_of = np.full(n, -1, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label rarer than the folds: as evenly as can be
        for fold, (_, rows) in enumerate(splitter.split(np.zeros(n), truth, groups)):
            fold_of[rows] = fold
    return fold_of
