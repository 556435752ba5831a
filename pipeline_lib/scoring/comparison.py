"""Compare one system with the better of others, on splits that tuned nothing.

Which of the others is better is decided on the development split, not on the split of the comparison: the better of two
*on the test split* would be a harder, but a tuned, opponent.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.bootstrap import CATEGORY_METRICS, Tally
from pipeline_lib.scoring.permutation import difference, difference_interval, mcnemar_p, permutation_p
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.splits import is_resubstitution
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest


def compare(manifest: Manifest, systems: dict[str, System], settings: ScoringSettings) -> dict[str, dict[str, Any]]:
    """Return, for each split on which neither side nor the choice was tuned, the difference and how sure it is.

    Returns:
        split to ``best`` (the opponent), ``<metric>``, ``<metric>_lo``, ``<metric>_hi`` of the difference, ``p`` of the
        permutation test and, for categories, ``p_mcnemar``; a split on which a system says nothing is left out

    Raises:
        InputError: on the development split the metric cannot be taken of all opponents
    """
    options, found = settings.comparison, {}
    pair = [systems[options.system], better(manifest, [systems[name] for name in options.against], settings)]
    chosen_on = manifest.mask(options.chosen_on)
    for split in settings.splits:
        inside = manifest.mask(split)
        rows, names = rows_for(options.metric, manifest, pair, inside)
        tuned = (inside & chosen_on).any() or any(is_resubstitution(manifest, each, inside) for each in pair)
        if tuned or not rows.any():
            continue
        tallies = [tally(manifest, each, rows, names) for each in pair]
        found[split] = {"best": pair[1].name, **_difference(tallies, settings)}
        if options.metric in CATEGORY_METRICS:
            truth = manifest.truth()[rows]
            found[split]["p_mcnemar"] = mcnemar_p(*(each.posterior[rows].argmax(axis=1) == truth for each in pair))
    return found


def better(manifest: Manifest, candidates: Sequence[System], settings: ScoringSettings) -> System:
    """Return the candidate with the highest score on the development split, the first of equals."""
    split, metric = settings.comparison.chosen_on, settings.comparison.metric
    rows, names = rows_for(metric, manifest, candidates, manifest.mask(split))
    if not rows.any():
        said = [each.name for each in candidates]
        raise InputError(f"scoring.comparison: no utterance of {split} has {metric} of all of {said}")
    scores = [tally(manifest, each, rows, names).score(metric) for each in candidates]
    return candidates[int(np.argmax(scores))]


def _difference(tallies: Sequence[Tally], settings: ScoringSettings) -> dict[str, float]:
    options, metric = settings.comparison, settings.comparison.metric
    low, high = difference_interval(*tallies, metric, **settings.bootstrap.model_dump())
    p = permutation_p(*tallies, metric, options.permutations, options.seed)
    return {metric: difference(*tallies, metric), f"{metric}_lo": low, f"{metric}_hi": high, "p": p}
