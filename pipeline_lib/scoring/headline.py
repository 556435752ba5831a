"""metrics/scores.json: at most 20 numbers, few enough to be compared by eye; details.json beside it holds all.

DVC takes every number of a metrics file for a column of ``dvc exp show`` and a line of ``dvc metrics diff``.
"""

from typing import Any

from pipeline_lib.params.scoring import MARKS, ScoringSettings

METRICS = {"macro_f1": "f1", "ua": "ua", "ccc_mean": "ccc"}  # of each system, under names that leave columns narrow
SYSTEMS = 6  # with three numbers each, and the headline and chance: 20


def headline_system(settings: ScoringSettings) -> str:
    """Return the system whose score is the headline: the compared one, else the first that is no baseline.

    Args:
        settings: tables, baselines and comparison
    """
    own = [name for name in settings.tables if name not in settings.baselines] or [*settings.tables]
    return settings.comparison.system if settings.comparison.system in settings.tables else own[0]


def headline_metric(values: dict[str, Any], settings: ScoringSettings) -> str | None:
    """Return the metric of the headline: the compared one, else the first of ``METRICS`` that the system has.

    Args:
        values: the system's scores on the plotted split
        settings: the comparison

    Returns:
        a key of ``values``, None where it has none of them
    """
    return next((name for name in (settings.comparison.metric, *METRICS) if name in values), None)


def systems_of(settings: ScoringSettings) -> list[str]:
    """Return the systems in the order in which they take a part of the numbers.

    The headline's comes first, then those that it is compared with, the baselines, and where neither is named, all.

    Args:
        settings: tables, baselines and comparison
    """
    named = [*settings.comparison.against, *settings.baselines] or [*settings.tables]
    return [name for name in dict.fromkeys([headline_system(settings), *named]) if name in settings.tables]


def summary(scores: dict[str, Any], settings: ScoringSettings) -> dict[str, Any]:
    """Return what metrics/scores.json holds: the headline, and few numbers of few systems on the plotted split.

    Args:
        scores: as in metrics/details.json
        settings: the plotted split, the comparison and the baselines

    Returns:
        ``headline``, what it is ``of``, ``chance`` (UA), and by system its ``METRICS``; a system that was fitted or
        chosen on a part of the split has its mark (``splits``), one that is not scored there is left out
    """
    split = settings.plotted_split
    chosen: dict[str, Any] = {}
    for system in systems_of(settings):
        for name in _names(system):
            if name in scores[split] and len(chosen) < SYSTEMS:
                chosen[name] = scores[split][name]
    result: dict[str, Any] = {}
    first = headline_system(settings)
    name = next((each for each in _names(first) if each in chosen), first)
    metric = headline_metric(chosen.get(name, {}), settings)
    if metric:
        result |= {"headline": chosen[name][metric], "of": f"{metric} of {name} on {split}"}
    if "ua" in scores["chance"]:
        result["chance"] = scores["chance"]["ua"]
    systems = {
        name: {short: values[key] for key, short in METRICS.items() if key in values} for name, values in chosen.items()
    }
    return result | systems


def _names(system: str) -> list[str]:
    """Return the names that a system may have on a split."""
    return [system, *(system + mark for mark in MARKS)]
