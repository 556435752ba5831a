"""Subsets of the development split: dev_filt, utterances with a scored label; dev_bal, as many of each label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline_lib.labels import indices
from pipeline_lib.params.corpus import BalancedSettings


def dev_filt(frame: pd.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Return a mask of the rows of the split dev with a scored label, not O, X, another or none.

    Args:
        frame: with ``split`` and ``emotion``
        labels: scored emotions

    Returns:
        bool, shape ``(n,)``
    """
    return (frame["split"] == "dev").to_numpy() & (indices(frame["emotion"].tolist(), labels) >= 0)


def dev_bal(
    frame: pd.DataFrame, labels: Sequence[str], settings: BalancedSettings
) -> tuple[np.ndarray, dict[str, int]]:
    """Return a mask of the drawn rows, and the number of utterances of each label that has too few.

    TalTech, section 3.3, draws 300 of each label; v1.11 has 282 of fear. All of a rare label are taken, so that it has
    the weight of its frequency in everything that is fitted here.

    Args:
        frame: sorted by utterance_id
        labels: scored emotions
        settings: number of each label, and the seed

    Returns:
        bool, shape ``(n,)``, and label -> count where it is below ``per_class``
    """
    truth = np.where(dev_filt(frame, labels), indices(frame["emotion"].tolist(), labels), -1)
    drawn, short = np.zeros(len(frame), dtype=bool), {}
    for i, label in enumerate(labels):
        rows = np.flatnonzero(truth == i)
        if len(rows) < settings.per_class:
            short[label] = len(rows)
        else:
            rows = np.random.default_rng([settings.seed, i]).choice(rows, settings.per_class, replace=False)
        drawn[rows] = True
    return drawn, short
