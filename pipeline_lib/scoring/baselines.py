"""Every system that is no baseline itself beside the baselines, on the same utterances.

A baseline is a row that takes minutes: functionals or a frozen layer with a closed-form back end. A trained expert that
scores less has learned nothing that was not to be had without it, so the report begins with that.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.comparison import same_predictions
from pipeline_lib.scoring.intervals import difference_bounds, named
from pipeline_lib.scoring.lineage import Lineage, lineage
from pipeline_lib.scoring.permutation import difference
from pipeline_lib.scoring.scored_rows import rows_for, tally
from pipeline_lib.scoring.splits import names_of, overlap, refusal
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest

METRICS = ("ua", "ccc_mean")  # the first that both sides have


def pairs(settings: ScoringSettings, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each system that is no baseline with those that it is held against, the fused one with all.

    An expert's table counts as rebalanced where scoring.tables has it so, else as it was predicted. It is held against
    baselines that share a modality with it.

    Args:
        settings: tables and baselines
        params: params.yaml as read, for what a table comes from
    """
    of = {name: lineage(table, params) for name, table in settings.tables.items()}
    rebalanced = {of[name] for name, table in settings.tables.items() if table.startswith("data/rebalanced/")}
    for name, table in settings.tables.items():
        origin = of[name]
        if name in settings.baselines or origin is None:
            continue
        if origin in rebalanced and not table.startswith("data/rebalanced/"):
            continue
        for baseline in settings.baselines:
            if baseline in settings.tables and _comparable(origin, of[baseline]):
                yield name, baseline


def beside_baselines(
    manifest: Manifest, systems: dict[str, System], settings: ScoringSettings, params: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the scores of each pair on the plotted split, over the utterances that both sides predict.

    Args:
        manifest: truth and speakers
        systems: by name
        settings: tables, baselines, the plotted split and the intervals
        params: params.yaml as read

    Returns:
        system to baseline to ``metric``, ``score``, ``baseline``, ``difference``, with ``difference_lo`` and ``_hi``
        where there is an interval, ``n``, and ``chosen_on`` where something of a side was chosen there; and warnings
        about pairs that cannot be compared, a sentence each
    """
    split, warnings = settings.plotted_split, []
    result: dict[str, dict[str, Any]] = {}
    inside = manifest.mask(split)
    here = names_of(manifest, inside)
    for name, baseline in pairs(settings, params):
        both = [systems[name], systems[baseline]]
        if same_predictions(*both):
            warnings.append(f"{name} and the baseline {baseline} predict the same of every utterance: not compared")
            continue
        if why := refusal(both, here):
            warnings.append(f"{split}: {name} is not compared with the baseline {baseline}: {why}")
            continue
        values = _compared(manifest, both, inside, settings)
        chosen = {name for each in both for name in overlap(each.provenance.chosen_on, here)}
        if values:
            values |= {"chosen_on": sorted(chosen)} if chosen else {}
            result.setdefault(name, {})[baseline] = values
        else:
            warnings.append(f"{split}: {name} and the baseline {baseline} have no scored utterance in common")
    return result, warnings


def _comparable(origin: Lineage, baseline: Lineage | None) -> bool:
    """Return whether the two share a modality, or the parameters do not tell."""
    if baseline is None or not origin.modalities or not baseline.modalities:
        return True
    return bool(origin.modalities & baseline.modalities)


def _compared(
    manifest: Manifest, both: Sequence[System], inside: np.ndarray, settings: ScoringSettings
) -> dict[str, Any]:
    """Return the comparison of two systems, empty where they share no utterance that can be scored."""
    for metric in METRICS:
        rows, names = rows_for(metric, manifest, both, inside)
        if not rows.any():
            continue
        one, other = (tally(manifest, system, rows, names) for system in both)
        between = difference_bounds(one, other, metric, settings.intervals)
        scores = {"score": one.score(metric), "baseline": other.score(metric)}
        gain = named("difference", difference(one, other, metric), between)
        return {"metric": metric, **scores, **gain, "n": int(rows.sum())}
    return {}
