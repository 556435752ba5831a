r"""Macro-F1 to expect of a hidden test set with as many utterances of each label, from labelled development data.

MSP-Podcast's hidden test of Odyssey 2024 is balanced, its development data are not. Where a hidden utterance of a label
is predicted as a development utterance of that label is, the test's confusion matrix has equal rows:

.. math:: R_{kj} = \frac{c_{kj}}{\sum_l c_{kl}}, \qquad
   F_k = \frac{2 R_{kk}}{1 + \sum_l R_{lk}}, \qquad F = \frac{1}{K} \sum_k F_k

with :math:`c_{kj}` the development utterances of label :math:`k` predicted as :math:`j`. The share of right ones among
those predicted as :math:`k` becomes :math:`R_{kk} / \sum_l R_{lk}`, the precision under a uniform prior; recalls stay.
The reweighting takes labels alone into account: other speakers, topics and recordings than the development data's are
no part of it. Intervals are over the development speakers, each time with the rows made equal anew (a label without an
utterance left keeps its row); the chance of a small hidden test comes on top.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_lib.metrics.arrays import ratio
from pipeline_lib.metrics.categories import macro_f1_of
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.intervals import intervals
from pipeline_lib.scoring.scored_rows import category_rows, tally
from pipeline_lib.scoring.splits import name_on, names_of
from pipeline_lib.scoring.systems import System
from pipeline_lib.scoring.tallies import Tally
from pipeline_lib.tables.manifest import Manifest


def balanced_macro_f1_of(cells: np.ndarray) -> np.ndarray:
    """Return macro-F1 with every label's row scaled to the same sum.

    A label without utterances has an empty row and F1 0: it cannot be told how it would be predicted.

    Args:
        cells: confusion counts, rows are the truth, shape ``(..., n_labels, n_labels)``

    Returns:
        shape ``(...)``, in [0, 1]

    Examples:
        >>> float(balanced_macro_f1_of(np.array([[8, 2], [10, 30]])))  # (1.6 / 2.05 + 1.5 / 1.95) / 2
        0.7748592870544091
    """
    return macro_f1_of(_equal_rows(cells))


def expected(
    manifest: Manifest, systems: Sequence[System], settings: ScoringSettings
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the macro-F1 to expect of each system on a balanced test.

    Args:
        manifest: truth, speakers and splits
        systems: aligned with the manifest
        settings: the development data (``expected.on``) and the intervals

    Returns:
        by system ``macro_f1``, with ``_lo`` and ``_hi`` where there is an interval, and ``n``, the development
        utterances; a system of which something was fitted or chosen on these carries its mark (``splits``), its number
        flatters; and warnings, a sentence each, on systems that are left out since they do not predict an utterance of
        each label

    Raises:
        InputError: there is no such split or subset
    """
    split = settings.expected.on
    if split is None:
        return {}, []
    inside = manifest.mask(split)
    values: dict[str, dict[str, Any]] = {}
    warnings, here = [], names_of(manifest, inside)
    for system in systems:
        if system.posterior is None:
            continue
        rows = category_rows(manifest, system, inside)
        missing = [label for k, label in enumerate(manifest.labels) if not (manifest.truth()[rows] == k).any()]
        if missing:
            warnings.append(f"expected: {system.name} predicts no utterance of {missing} in {split} and is left out")
            continue
        name = name_on(system, here)
        values[name] = {**intervals(_balanced(tally(manifest, system, rows)), settings.intervals), "n": int(rows.sum())}
    return values, warnings


def _balanced(tallied: Tally) -> Tally:
    """Return the tally with balanced macro-F1 alone; a label without an utterance left keeps its row."""
    own = _equal_rows(tallied.sums.sum(axis=0))

    def score(cells: np.ndarray) -> np.ndarray:
        return macro_f1_of(np.where(cells.sum(axis=-1, keepdims=True) > 0, _equal_rows(cells), own))

    return Tally(tallied.sums, {"macro_f1": score}, tallied.sizes)


def _equal_rows(cells: np.ndarray) -> np.ndarray:
    return ratio(cells, np.broadcast_to(cells.sum(axis=-1, keepdims=True), cells.shape))
