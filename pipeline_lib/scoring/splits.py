"""What of a system was fitted or chosen on a split, and warnings about the split's scores.

Two marks, which a system's name carries on a split in the report, the plots and details.json:

- ``_resubstitution``: something was fitted on a part of the split (weights, a back end, a temperature, a prior, the
  fusion) and not cross-fitted. Its score there says nothing of other utterances, and comparisons are refused.
- ``_selection``: nothing was fitted there, but something was chosen (the epoch of early stopping, a layer). Its score
  there is optimistic by that choice, and comparisons carry the mark.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import numpy as np
import pandas as pd

from pipeline_lib.metrics.jackknife import LEAST_SPEAKERS
from pipeline_lib.params.scoring import MARKS, IntervalSettings
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest

FEW_SPEAKERS = 24  # below these the nominal .95 of the percentile bootstrap is less than .92
FOLDS = "test every speaker out of fold (corpus.split.method: folds, docs/own_corpus.md)"
RESUBSTITUTION, SELECTION = MARKS


def names_of(manifest: Manifest, rows: np.ndarray) -> set[str]:
    """Return the splits and subsets that hold one of these rows.

    Args:
        manifest: splits and subsets
        rows: bool, shape ``(n,)``
    """
    splits = pd.unique(manifest.frame["split"].to_numpy(dtype=object)[rows])
    return set().union(splits, *manifest.frame["subsets"].to_numpy(dtype=object)[rows])


def overlap(names: Iterable[str], here: AbstractSet[str]) -> list[str]:
    """Return which of these splits and subsets hold one of the rows, sorted.

    Args:
        names: of splits and subsets, of this corpus or a larger one
        here: those that hold one of the rows, of ``names_of``
    """
    return sorted({*names} & here)


def is_resubstitution(manifest: Manifest, system: System, rows: np.ndarray) -> bool:
    """Return whether something of the system was fitted on one of these rows.

    Args:
        manifest: splits and subsets
        system: with the splits that it was fitted on
        rows: bool, shape ``(n,)``
    """
    return bool(overlap(system.fitted_on, names_of(manifest, rows)))


def name_on(system: System, here: AbstractSet[str]) -> str:
    """Return the system's name on some rows, with its mark where something of it was fitted or chosen on one of them.

    Args:
        system: as in ``scoring.tables``
        here: splits and subsets that hold one of the rows, of ``names_of``
    """
    if overlap(system.provenance.fitted_on, here):
        return system.name + RESUBSTITUTION
    return system.name + (SELECTION if overlap(system.provenance.chosen_on, here) else "")


def unmarked(name: str) -> str:
    """Return a system's name without its mark on a split."""
    return next((name.removesuffix(mark) for mark in MARKS if name.endswith(mark)), name)


def refusal(systems: Iterable[System], here: AbstractSet[str]) -> str | None:
    """Return why systems are not compared on some rows, None where they can be.

    Args:
        systems: that are to be compared
        here: splits and subsets that hold one of the rows, of ``names_of``
    """
    for system in systems:
        if fitted := overlap(system.provenance.fitted_on, here):
            return f"{system.name} was fitted there ({', '.join(fitted)}) and not cross-fitted"
        if not system.provenance.is_recorded:
            sources = ", ".join(system.provenance.not_recorded)
            return f"what {system.name} was fitted on is not recorded ({sources}: run dvc repro)"
    return None


def unrecorded(systems: Iterable[System]) -> list[str]:
    """Return a warning of each system of which it is not recorded what it was fitted and chosen on.

    Args:
        systems: as in ``scoring.tables``
    """
    return [
        f"{system.name}: what it was fitted and chosen on is not recorded ({', '.join(system.provenance.not_recorded)},"
        " of older code): marks may be missing; run dvc repro"
        for system in systems
        if not system.provenance.is_recorded
    ]


def cautions(manifest: Manifest, split: str, settings: IntervalSettings) -> list[str]:
    """Return warnings about the scores of a split: leaks from training, few speakers.

    Args:
        manifest: the corpus
        split: a split or subset
        settings: of the intervals

    Returns:
        a sentence each
    """
    rows = manifest.mask(split)
    training = manifest.frame["split"].to_numpy(dtype=object) == "train"
    warnings = []
    for column, what in (("speaker", "speakers"), ("audio_sha256", "recordings")):
        here, there = _known(manifest, column, rows & ~training), _known(manifest, column, training)
        shared = sorted(here & there)
        if shared:
            warnings.append(
                f"{split}: {len(shared)} of {len(here)} {what} also occur in train, {shared[0]} first; it flatters"
            )
    return warnings + _of_speakers(manifest, split, rows, settings)


def _of_speakers(manifest: Manifest, split: str, rows: np.ndarray, settings: IntervalSettings) -> list[str]:
    """Return warnings about intervals: that there are none, why, and what would give some."""
    known, total = len(_known(manifest, "speaker", rows)), int(rows.sum())
    unknown = int(manifest.frame["speaker"][rows].isna().sum())
    if not known:
        why = "utterances of one speaker are alike, and an interval by utterance is far too narrow"
        return [f"{split}: no speaker is known, so no interval and no test: {why}; name the speakers in the corpus"]
    warnings = []
    if unknown:
        warnings.append(f"{split}: {unknown} of {total} utterances have no speaker; they count as one further speaker")
    if known + bool(unknown) < LEAST_SPEAKERS:
        count = f"{known} speakers" if known > 1 else "one speaker"
        warnings.append(f"{split}: {count}, an interval needs {LEAST_SPEAKERS}: {FOLDS}")
    elif settings.method == "percentile" and known < FEW_SPEAKERS:
        warnings.append(
            f"{split}: {known} speakers; percentile intervals from fewer than {FEW_SPEAKERS} are too narrow, set"
            " scoring.intervals.method: jackknife_t"
        )
    return warnings


def _known(manifest: Manifest, column: str, rows: np.ndarray) -> set[str]:
    return set(manifest.frame[column][rows].dropna())
