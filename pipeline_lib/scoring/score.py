"""Scores of every system on every split: ``<split>.<system>.<metric>``, with ``_lo`` and ``_hi`` of five speakers on.

Categories are scored on utterances whose emotion is among the manifest's labels: X and O never are. Attributes are
scored on utterances that have a value. ``ccc_mean`` is given by systems that predict every attribute of the split.

- A system of which something was fitted on a part of the split is called ``<system>_resubstitution`` there, one of
  which something was only chosen there ``<system>_selection`` (``splits``). ``provenance`` holds what each was fitted
  and chosen on.
- A system is scored on the utterances it predicts, ``n`` of them. Where it predicts none it is left out; where it
  predicts fewer than ``least_coverage`` it is left out with a warning, since the others may differ.
- Where the split lacks labels, ``labels_present`` is how many of how many occur in it, and ``macro_f1_present`` and
  ``ua_present`` are the means over these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.metrics.categories import f1_of
from pipeline_lib.metrics.jackknife import LEAST_SPEAKERS
from pipeline_lib.params.scoring import FUSED, IntervalSettings, ScoringSettings
from pipeline_lib.scoring.baselines import beside_baselines
from pipeline_lib.scoring.chance import chance
from pipeline_lib.scoring.comparison import compare
from pipeline_lib.scoring.expected import expected
from pipeline_lib.scoring.intervals import intervals, named
from pipeline_lib.scoring.over_folds import cautions_of_folds, over_folds
from pipeline_lib.scoring.scored_rows import (
    attribute_names,
    attribute_rows,
    category_rows,
    posterior_of,
    speakers_of,
    tally,
)
from pipeline_lib.scoring.splits import cautions, name_on, names_of, unmarked, unrecorded
from pipeline_lib.scoring.systems import System
from pipeline_lib.scoring.tallies import Score, Tally, by_label, tally_calibration
from pipeline_lib.tables import folds
from pipeline_lib.tables.manifest import Manifest

CROSSFITTED = FUSED[1]  # of fusion.tuning alone: the one table that may be scored nowhere


@dataclass
class Scored:
    """Scores and their warnings.

    Attributes:
        scores: nested by split and system
        warnings: to be printed with the scores, a sentence each
    """

    scores: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def score(
    manifest: Manifest, systems: Sequence[System], settings: ScoringSettings, params: dict[str, Any] | None = None
) -> Scored:
    """Return the scores of every system on every split, the comparison, the baselines and the mean over folds.

    Args:
        manifest: truth, speakers and splits
        systems: aligned with the manifest
        settings: splits, intervals, the comparison and the baselines
        params: params.yaml as read, which tells what a table comes from; None: no system is held against baselines

    Raises:
        InputError: a split is not in the manifest, a system is scored nowhere, or a score is not finite
    """
    scores: dict[str, Any] = {"corpus": manifest.corpus, "notice": manifest.notice}
    scores["intervals"] = settings.intervals.model_dump()
    scores["chance"] = _chance(manifest, settings) if manifest.labels else {}
    scores["provenance"] = {system.name: system.provenance.entries() for system in systems}
    scored = Scored(scores, unrecorded(systems))
    for split in settings.splits:
        scored.warnings += cautions(manifest, split, settings.intervals)
        scores[split], here = {}, names_of(manifest, manifest.mask(split))
        for system in systems:
            values = _score_one(manifest, system, split, settings, scored.warnings)
            if values:
                scores[split][name_on(system, here)] = values
    scored_names = {unmarked(name) for split in settings.splits for name in scores[split]}
    for system in systems:
        if system.name not in scored_names:
            if settings.tables.get(system.name) == CROSSFITTED:
                scored.warnings.append(f"{system.name} is left out: it holds fusion.tuning alone, no whole split here")
                continue
            raise InputError(
                f"scoring.tables.{system.name} is scored on none of {settings.splits}: it predicts too few of their"
                f" utterances (do they lack what it reads? lower scoring.least_coverage {settings.least_coverage:g}, or"
                " leave it out of scoring.tables)"
            )
    if settings.comparison.against:
        _compare(manifest, systems, settings, scored)
    if settings.baselines and params is not None:
        named = {system.name: system for system in systems}
        scores["beside_baselines"], unlike = beside_baselines(manifest, named, settings, params)
        scored.warnings += unlike
    if settings.expected.on is not None:
        scores["expected"], left_out = expected(manifest, systems, settings)
        scored.warnings += left_out
    if folds.SPLIT in settings.splits and folds.count(manifest):
        scores["over_folds"] = over_folds(manifest, systems)
        scored.warnings += cautions_of_folds(manifest)
    _check_finite("scores", scores)
    return scored


def _chance(manifest: Manifest, settings: ScoringSettings) -> dict[str, Any]:
    """Return chance on every split, and the UA of guessing on the plotted one, whose labels decide what it is."""
    splits = {split: chance(manifest, split) for split in settings.splits}
    plotted = splits[settings.plotted_split]
    return {**({"ua": plotted["uniform"]["ua"]} if plotted else {}), "splits": splits}


def _score_one(
    manifest: Manifest, system: System, split: str, settings: ScoringSettings, warnings: list[str]
) -> dict[str, Any]:
    """Return the system's scores on the split, empty where it predicts nothing there."""
    inside, truth = manifest.mask(split), manifest.truth()
    values: dict[str, Any] = {}
    names = attribute_names(manifest, system, inside)
    rows = category_rows(manifest, system, inside)
    if _covers(system, split, rows, inside & (truth >= 0), settings, warnings):
        values |= _counts(manifest, rows) | _of_categories(manifest, system, rows, settings)
    rows = attribute_rows(manifest, system, inside, names)
    valued = np.isfinite(manifest.attributes(names or ATTRIBUTES)).any(axis=1)
    if _covers(system, split, rows, inside & valued, settings, warnings):
        values = {**_counts(manifest, rows), **values, "n_attributes": int(rows.sum())}
        scores = intervals(tally(manifest, system, rows, names), settings.intervals)
        all_valued = int(np.isfinite(manifest.attributes()[inside]).any(axis=0).sum())
        values |= {key: value for key, value in scores.items() if len(names) == all_valued or "mean" not in key}
    return values


def _of_categories(manifest: Manifest, system: System, rows: np.ndarray, settings: ScoringSettings) -> dict[str, Any]:
    """Return the scores of categories in these rows, which of them are over fewer labels, and F1 by label."""
    tallied = tally(manifest, system, rows)
    values: dict[str, Any] = dict(intervals(tallied, settings.intervals))
    truth, posterior = manifest.truth()[rows], posterior_of(system, rows)
    certain = tally_calibration(posterior, truth, speakers_of(manifest, rows), settings.calibration_bins)
    values |= intervals(certain, settings.intervals)
    present = len({*truth.tolist()})
    if present < len(manifest.labels):
        values["labels_present"] = [present, len(manifest.labels)]
    return values | {"labels": f1_by_label(tallied, manifest.labels, settings.intervals)}


def f1_by_label(tallied: Tally, labels: Sequence[str], settings: IntervalSettings) -> dict[str, dict[str, Any]]:
    """Return ``n`` and ``f1`` of each label, with ``_lo`` and ``_hi`` where five speakers or more have the label.

    Args:
        tallied: of categories
        labels: names, in order, of the first rows of the confusion counts
        settings: of the intervals
    """
    cells = tallied.sums
    f1 = by_label(f1_of, cells.sum(axis=0))
    scored = intervals(replace(tallied, scores={label: _at(f1, k) for k, label in enumerate(labels)}), settings)
    values = {}
    for k, label in enumerate(labels):
        enough = np.count_nonzero(cells[:, k].sum(axis=1)) >= LEAST_SPEAKERS
        between = (scored[f"{label}_lo"], scored[f"{label}_hi"]) if enough else None
        values[label] = {"n": int(cells[:, k].sum()), **named("f1", scored[label], between)}
    return values


def _at(score: Score, label: int) -> Score:
    return lambda cells: score(cells)[..., label]


def _counts(manifest: Manifest, rows: np.ndarray) -> dict[str, int]:
    return {"n": int(rows.sum()), "n_speakers": int(manifest.frame["speaker"][rows].nunique())}


def _covers(
    system: System, split: str, rows: np.ndarray, expected: np.ndarray, settings: ScoringSettings, warnings: list[str]
) -> bool:
    """Return whether the system predicts enough of the split to be scored; warn where it predicts a part of it."""
    n, total = int(rows.sum()), int(expected.sum())
    if not n:
        return False
    enough = n >= settings.least_coverage * total
    if n < total:
        end = "scored on these" if enough else f"left out there (scoring.least_coverage is {settings.least_coverage:g})"
        warning = f"{split}: {system.name} predicts {n} of {total} scored utterances, {end}"
        if warning not in warnings:
            warnings.append(warning)
    return enough


def _compare(manifest: Manifest, systems: Sequence[System], settings: ScoringSettings, scored: Scored) -> None:
    name = settings.comparison.system
    comparisons, notes = compare(manifest, {system.name: system for system in systems}, settings)
    scored.warnings += notes
    for split, values in comparisons.items():
        scored.scores[split][f"{name}_minus_best"] = values
    if not comparisons and not notes:
        scored.warnings.append(f"{name} is compared on no split: none of {settings.splits} has predictions of both")


def _check_finite(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            _check_finite(f"{name}.{key}", part)
    elif isinstance(value, float) and not np.isfinite(value):
        raise InputError(f"{name} is {value}; a score that is not finite is never written")
