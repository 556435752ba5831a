"""Resubstitution, and warnings about a split's scores."""

import numpy as np

from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.intervals import LEAST_SPEAKERS
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest

FEW_SPEAKERS = 24  # below these the nominal .95 of the percentile bootstrap is less than .92
FOLDS = "test every speaker out of fold (corpus.split.method: folds, docs/own_corpus.md)"


def is_resubstitution(manifest: Manifest, system: System, rows: np.ndarray) -> bool:
    """Return whether something of the system was fitted on one of these rows.

    Args:
        manifest: splits and subsets
        system: with the subsets that it was fitted on
        rows: bool, shape ``(n,)``
    """
    return any((manifest.mask(name) & rows).any() for name in system.fitted_on)


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
