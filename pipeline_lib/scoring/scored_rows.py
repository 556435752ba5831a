"""The scored utterances of a system, and its tally over them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.scoring.systems import System
from pipeline_lib.scoring.tallies import CATEGORY_METRICS, Tally, tally_attributes, tally_categories
from pipeline_lib.tables.manifest import Manifest


def category_rows(manifest: Manifest, system: System, inside: np.ndarray) -> np.ndarray:
    """Return which utterances of the split have a scored label and a posterior of the system.

    Args:
        manifest: the corpus
        system: the scored system
        inside: mask of the split, bool, shape ``(n,)``

    Returns:
        bool, shape ``(n,)``
    """
    if system.posterior is None:
        return np.zeros(len(manifest), dtype=bool)
    return inside & (manifest.truth() >= 0) & np.isfinite(system.posterior).all(axis=1)


def attribute_names(manifest: Manifest, system: System, inside: np.ndarray) -> tuple[str, ...]:
    """Return the attributes that have both values in the split and predictions of the system.

    Args:
        manifest: the corpus
        system: the scored system
        inside: mask of the split, bool, shape ``(n,)``
    """
    if system.attributes is None:
        return ()
    pairs = (np.isfinite(manifest.attributes()) & np.isfinite(system.attributes))[inside].any(axis=0)
    return tuple(name for name, paired in zip(ATTRIBUTES, pairs, strict=True) if paired)


def attribute_rows(manifest: Manifest, system: System, inside: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return which utterances of the split have a value of one of these attributes and predictions of all.

    Args:
        manifest: the corpus
        system: the scored system
        inside: mask of the split, bool, shape ``(n,)``
        names: the attributes

    Returns:
        bool, shape ``(n,)``
    """
    if system.attributes is None or not names:
        return np.zeros(len(manifest), dtype=bool)
    valued = np.isfinite(manifest.attributes(names)).any(axis=1)
    return inside & valued & np.isfinite(system.attributes[:, _columns(names)]).all(axis=1)


def rows_for(
    metric: str, manifest: Manifest, systems: Sequence[System], inside: np.ndarray
) -> tuple[np.ndarray, tuple]:
    """Return the utterances on which the metric can be taken of *all* systems, and the attributes it is taken of.

    Args:
        metric: a key of the scores, ``macro_f1`` or ``ccc_mean`` for example
        manifest: the corpus
        systems: one or more
        inside: mask of the split, bool, shape ``(n,)``

    Returns:
        bool of shape ``(n,)``, and the attributes' names, empty for a metric of categories
    """
    if metric in CATEGORY_METRICS:
        return np.logical_and.reduce([category_rows(manifest, system, inside) for system in systems]), ()
    scorable = [attribute_names(manifest, system, inside) for system in systems]
    names = tuple(name for name in scorable[0] if all(name in others for others in scorable))
    if metric not in ("ccc_mean", *(f"ccc_{name}" for name in names)):
        return np.zeros(len(manifest), dtype=bool), ()
    return np.logical_and.reduce([attribute_rows(manifest, system, inside, names) for system in systems]), names


def tally(manifest: Manifest, system: System, rows: np.ndarray, names: Sequence[str] = ()) -> Tally:
    """Return the system's tally by speaker over these rows: of the attributes named, of categories where none is.

    Args:
        manifest: truth and speakers
        system: with predictions in all of these rows
        rows: bool, shape ``(n,)``
        names: attributes; none for categories

    Raises:
        ValueError: the system has no such predictions
    """
    cluster = speakers_of(manifest, rows)
    if not names:
        prediction = choices(system, rows)
        return tally_categories(manifest.truth()[rows], prediction, cluster, len(manifest.labels))
    if system.attributes is None:
        raise ValueError(f"system {system.name!r} has no attributes")
    predicted = system.attributes[rows][:, _columns(names)]
    return tally_attributes(manifest.attributes(names)[rows], predicted, cluster, names)


def speakers_of(manifest: Manifest, rows: np.ndarray) -> np.ndarray:
    """Return the speakers of these rows as ``clusters`` numbers them, int64, shape ``(n_rows,)``.

    Args:
        manifest: the corpus
        rows: bool, shape ``(n,)``
    """
    return pd.factorize(manifest.frame["speaker"][rows], use_na_sentinel=False)[0].astype(np.int64)


def posterior_of(system: System, rows: np.ndarray) -> np.ndarray:
    """Return the system's posterior in these rows, shape ``(n_rows, n_labels)``.

    Args:
        system: with categories
        rows: bool, shape ``(n,)``

    Raises:
        ValueError: the system has no posterior
    """
    if system.posterior is None:
        raise ValueError(f"system {system.name!r} has no posterior")
    return system.posterior[rows]


def choices(system: System, rows: np.ndarray) -> np.ndarray:
    """Return the index of the most probable label in these rows, int64, shape ``(n_rows,)``.

    Args:
        system: with categories
        rows: bool, shape ``(n,)``

    Raises:
        ValueError: the system has no posterior
    """
    return posterior_of(system, rows).argmax(axis=1)


def _columns(names: Sequence[str]) -> list[int]:
    return [ATTRIBUTES.index(name) for name in names]
