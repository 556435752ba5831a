"""Which utterances a system can be scored on, and its tally over them."""

from collections.abc import Sequence

import numpy as np

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.scoring.bootstrap import CATEGORY_METRICS, Tally, clusters, tally_attributes, tally_categories
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest


def category_rows(manifest: Manifest, system: System, inside: np.ndarray) -> np.ndarray:
    """Return which utterances of the split have a scored label and a posterior of the system.

    Args:
        manifest: the corpus
        system: what is scored
        inside: which utterances are in the split, bool, shape ``(n,)``

    Returns:
        bool, shape ``(n,)``
    """
    if system.posterior is None:
        return np.zeros(len(manifest), dtype=bool)
    return inside & (manifest.truth() >= 0) & np.isfinite(system.posterior).all(axis=1)


def attribute_names(manifest: Manifest, system: System, inside: np.ndarray) -> tuple[str, ...]:
    """Return the attributes that have both values in the split and predictions of the system."""
    if system.attributes is None:
        return ()
    pairs = (np.isfinite(manifest.attributes()) & np.isfinite(system.attributes))[inside].any(axis=0)
    return tuple(name for name, paired in zip(ATTRIBUTES, pairs, strict=True) if paired)


def attribute_rows(manifest: Manifest, system: System, inside: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return which utterances of the split have a value of one of these attributes and predictions of all."""
    if system.attributes is None or not names:
        return np.zeros(len(manifest), dtype=bool)
    valued = np.isfinite(manifest.attributes(names)).any(axis=1)
    return inside & valued & np.isfinite(system.attributes[:, _places(names)]).all(axis=1)


def rows_for(
    metric: str, manifest: Manifest, systems: Sequence[System], inside: np.ndarray
) -> tuple[np.ndarray, tuple]:
    """Return the utterances on which the metric can be taken of *all* systems, and the attributes it is taken of.

    Returns:
        bool of shape ``(n,)``, and the attributes' names, empty for a metric of categories
    """
    if metric in CATEGORY_METRICS:
        return np.logical_and.reduce([category_rows(manifest, each, inside) for each in systems]), ()
    known = [attribute_names(manifest, each, inside) for each in systems]
    names = tuple(name for name in known[0] if all(name in others for others in known))
    if metric not in ("ccc_mean", *(f"ccc_{name}" for name in names)):
        return np.zeros(len(manifest), dtype=bool), ()
    return np.logical_and.reduce([attribute_rows(manifest, each, inside, names) for each in systems]), names


def tally(manifest: Manifest, system: System, rows: np.ndarray, names: Sequence[str] = ()) -> Tally:
    """Return the system's tally by speaker over these rows: of the attributes named, of categories where none is."""
    speakers = [each if isinstance(each, str) else None for each in manifest.frame["speaker"][rows]]
    if not names:
        prediction = system.posterior[rows].argmax(axis=1)
        return tally_categories(manifest.truth()[rows], prediction, clusters(speakers), len(manifest.labels))
    predicted = system.attributes[rows][:, _places(names)]
    return tally_attributes(manifest.attributes(names)[rows], predicted, clusters(speakers), names)


def _places(names: Sequence[str]) -> list[int]:
    return [ATTRIBUTES.index(name) for name in names]
