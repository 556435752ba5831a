"""Resubstitution, and warnings about a split's scores."""

import numpy as np

from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest

FEW_SPEAKERS = 10


def is_resubstitution(manifest: Manifest, system: System, rows: np.ndarray) -> bool:
    """Return whether something of the system was fitted on one of these rows.

    Args:
        manifest: splits and subsets
        system: with the subsets that it was fitted on
        rows: bool, shape ``(n,)``
    """
    return any((manifest.mask(name) & rows).any() for name in system.fitted_on)


def cautions(manifest: Manifest, split: str) -> list[str]:
    """Return warnings about the scores of a split: leaks from training, absent labels, few speakers.

    Args:
        manifest: the corpus
        split: a split or subset

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
    counts = np.bincount(manifest.truth()[rows & (manifest.truth() >= 0)], minlength=len(manifest.labels))
    absent = [label for label, count in zip(manifest.labels, counts, strict=True) if count == 0]
    if counts.any() and absent:
        warnings.append(f"{split}: no utterance of {', '.join(absent)}; these labels count 0 in macro_f1 and ua")
    speakers = _known(manifest, "speaker", rows)
    if len(speakers) == 1:
        warnings.append(
            f"{split}: one speaker; utterances are resampled instead, the intervals hold for this speaker only"
        )
    elif 1 < len(speakers) < FEW_SPEAKERS:
        warnings.append(f"{split}: {len(speakers)} speakers; intervals from fewer than {FEW_SPEAKERS} are too narrow")
    elif not speakers:
        warnings.append(f"{split}: no speaker is known; utterances are resampled, the intervals are too narrow")
    return warnings


def _known(manifest: Manifest, column: str, rows: np.ndarray) -> set[str]:
    return set(manifest.frame[column][rows].dropna())
