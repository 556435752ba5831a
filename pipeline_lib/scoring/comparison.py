"""Comparison of one system with the better of others, on splits on which neither was fitted.

On a split that a side was fitted on without cross-fitting the comparison is refused, which a note says. On one that
only chose something (the epoch of early stopping, a layer, the better one of several) it is made, and ``chosen_on``
marks it: development data are often the only labels that there are.

The better one is chosen on the development split, not on the split of the comparison: the better of two *on the test
split* would be a harder, but a tuned, opponent. A corpus in folds has no development split of its own: there the better
one is chosen on the same out-of-fold predictions (``chosen_on: folds``), the harder opponent, and the report says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.intervals import difference_bounds, named
from pipeline_lib.scoring.permutation import detectable, difference, least_p, permutation_p
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.splits import names_of, overlap, refusal
from pipeline_lib.scoring.systems import System
from pipeline_lib.scoring.tallies import Tally
from pipeline_lib.tables import folds
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.truth import held_out_splits


def compare(
    manifest: Manifest, systems: dict[str, System], settings: ScoringSettings
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the difference and its significance, for each split on which neither side was fitted.

    Args:
        manifest: truth and speakers
        systems: by name
        settings: the splits, and which systems are compared by which metric

    Returns:
        split to ``best`` (the opponent), ``n_speakers``, ``<metric>`` of the difference, with ``_lo`` and ``_hi`` where
        there is an interval, and of two speakers or more ``p`` of the permutation test, ``p_least``, the smallest that
        they allow, and ``detectable`` (see ``permutation.detectable``) where there is such a difference; a split
        without predictions of a system left out; ``chosen_on`` where a side or the opponent was chosen there: the
        splits that it was chosen on; and a sentence for each split where the comparison is refused, and where the two
        systems are one and the same, which is not compared

    Raises:
        InputError: on the development split the metric cannot be taken of all opponents, or it holds utterances of a
            test split
    """
    options, comparisons = settings.comparison, {}
    system, best = systems[options.system], better(manifest, [systems[name] for name in options.against], settings)
    pair = (system, best)
    if same_predictions(system, best):
        note = f"{system.name} and {best.name} predict the same of every utterance: they are not compared"
        return {}, [f"{note} (is scoring.comparison.system the fusion of {best.name} alone?)"]
    choice = len(options.against) > 1 and options.chosen_on != folds.SPLIT
    chosen_on, notes = manifest.mask(options.chosen_on) if choice else np.zeros(len(manifest), dtype=bool), []
    for split in settings.splits:
        inside = manifest.mask(split)
        rows, names = rows_for(options.metric, manifest, pair, inside)
        if not rows.any():
            continue
        here = names_of(manifest, inside)
        if why := refusal(pair, here):
            notes.append(f"{split}: {system.name} is not compared with {best.name}: {why}")
            continue
        one, other = (tally(manifest, side, rows, names) for side in pair)
        comparisons[split] = {"best": best.name, **_difference(one, other, settings)}
        chosen = {name for side in pair for name in overlap(side.provenance.chosen_on, here)}
        chosen |= {options.chosen_on} if (inside & chosen_on).any() else set()
        comparisons[split] |= {"chosen_on": sorted(chosen)} if chosen else {}
    return comparisons, notes


def same_predictions(one: System, other: System) -> bool:
    """Return whether two systems predict the same, to the bit.

    Args:
        one: aligned with the manifest
        other: likewise
    """
    values = ((one.posterior, other.posterior), (one.attributes, other.attributes))
    return all(a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True)) for a, b in values)


def better(manifest: Manifest, candidates: Sequence[System], settings: ScoringSettings) -> System:
    """Return the candidate with the highest score on the development split, the first of equals.

    Args:
        manifest: truth and speakers
        candidates: one or more systems
        settings: split and metric of the choice

    Raises:
        InputError: the metric cannot be taken of all candidates there
    """
    if len(candidates) == 1:
        return candidates[0]
    split, metric = settings.comparison.chosen_on, settings.comparison.metric
    held_out = held_out_splits(manifest, manifest.mask(split))
    if held_out and not settings.comparison.allow_test_tuning:
        raise InputError(
            f"scoring.comparison.chosen_on is {split!r}, which shares utterances with {held_out}; expected development"
            " data only (allow_test_tuning: true beside it chooses there all the same, and every report says so)"
        )
    rows, names = rows_for(metric, manifest, candidates, manifest.mask(split))
    if not rows.any():
        systems = [system.name for system in candidates]
        raise InputError(f"scoring.comparison: no utterance of {split} has {metric} of all of {systems}")
    scores = [tally(manifest, system, rows, names).score(metric) for system in candidates]
    return candidates[int(np.argmax(scores))]


def _difference(one: Tally, other: Tally, settings: ScoringSettings) -> dict[str, float]:
    """Return the difference of the compared metric with its interval, and the test with what it can show at all."""
    options, metric = settings.comparison, settings.comparison.metric
    between = difference_bounds(one, other, metric, settings.intervals)
    values = {"n_speakers": len(one.sums), **named(metric, difference(one, other, metric), between)}
    if len(one.sums) < 2:  # utterances of one speaker are not independent: nothing is left to swap
        return values
    values["p"] = permutation_p(one, other, metric, options.permutations, options.seed)
    values["p_least"] = least_p(one, other, options.permutations)
    size = detectable(one, other, metric, values["p_least"])
    return values if size is None else {**values, "detectable": size}
