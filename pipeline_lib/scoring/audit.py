"""The likeliest label errors, by confident learning on predictions of utterances that trained nothing.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021). A label's
threshold is the mean probability that utterances of this label have for it (equation 2). An utterance is confidently of
the label with the highest probability among those that reach their threshold (equation 1, ties of several resolved as
there); where that is another label than its own it is a likely error. They are ranked by the normalised margin: the
probability of the own label less that of the most probable other, lowest first.

It finds labels that a model of the other recordings contradicts. A hard utterance and a wrong label look alike to it,
and where the model is poor most of what it lists is right: it is a list to listen to, not one to delete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline_lib.scoring.scored_rows import category_rows, posterior_of
from pipeline_lib.scoring.splits import names_of, overlap
from pipeline_lib.scoring.systems import System
from pipeline_lib.tables.manifest import Manifest


@dataclass(frozen=True)
class Audit:
    """Likely label errors.

    Attributes:
        system: whose predictions they follow from, empty where nothing was audited
        audited: number of utterances with a label and a held-out prediction
        candidates: number of likely errors among them
        labels: of the columns of ``posterior``
        rows: of the manifest, the likeliest error first, int64, shape ``(n_listed,)``
        likelier: index of the label that each is confidently of, int64, shape ``(n_listed,)``
        posterior: shape ``(n_listed, n_labels)``
    """

    system: str
    audited: int
    candidates: int
    labels: tuple[str, ...]
    rows: np.ndarray
    likelier: np.ndarray
    posterior: np.ndarray


def thresholds(posterior: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each label's mean self-confidence, shape ``(n_labels,)``, infinite for a label without an utterance.

    Args:
        posterior: shape ``(n, n_labels)``
        labels: given label indices, shape ``(n,)``
    """
    own = posterior[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=posterior.shape[1])
    sums = np.bincount(labels, weights=own, minlength=posterior.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def likely_errors(posterior: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the utterances that are confidently of another label, the likeliest error first, and that label.

    Args:
        posterior: held-out, shape ``(n, n_labels)``, rows sum to 1
        labels: given label indices, shape ``(n,)``

    Returns:
        indices of utterances, int64, shape ``(n_candidates,)``, and label indices, int64, of the same shape
    """
    if not len(labels):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    reached = np.where(posterior >= thresholds(posterior, labels), posterior, -1.0)
    confident = reached.argmax(axis=1)
    candidates = np.flatnonzero((reached.max(axis=1) >= 0) & (confident != labels))
    others = posterior.copy()
    others[np.arange(len(labels)), labels] = -1.0
    margin = posterior[np.arange(len(labels)), labels] - others.max(axis=1)
    order = candidates[np.argsort(margin[candidates], kind="stable")]
    return order, confident[order]


def held_out(manifest: Manifest, system: System, splits: Sequence[str]) -> np.ndarray:
    """Return which utterances of these splits have a label and a prediction by what was not fitted on them.

    Args:
        manifest: the corpus
        system: audited
        splits: splits or subsets

    Returns:
        bool, shape ``(n,)``
    """
    inside = np.logical_or.reduce([manifest.mask(split) for split in splits])
    inside &= (manifest.frame["split"] != "train").to_numpy()
    for name in overlap(system.fitted_on, names_of(manifest, inside)):
        inside &= ~manifest.mask(name)
    return category_rows(manifest, system, inside)


def audit(manifest: Manifest, system: System, splits: Sequence[str], recordings: int) -> Audit:
    """Return the system's likeliest label errors among held-out utterances.

    Args:
        manifest: labels, splits and speakers
        system: audited
        splits: whose utterances are audited, as far as they are held out
        recordings: listed at most; with 0 nothing is audited
    """
    rows = np.flatnonzero(held_out(manifest, system, splits)) if recordings else np.zeros(0, dtype=np.int64)
    if not len(rows):
        nothing = np.zeros(0, dtype=np.int64)
        empty = np.zeros((0, len(manifest.labels)))
        return Audit(system.name if recordings else "", 0, 0, manifest.labels, nothing, nothing, empty)
    mask = np.zeros(len(manifest), dtype=bool)
    mask[rows] = True
    posterior = posterior_of(system, mask)
    order, likelier = likely_errors(posterior, manifest.truth()[rows])
    listed = order[:recordings]
    return Audit(
        system.name, len(rows), len(order), manifest.labels, rows[listed], likelier[:recordings], posterior[listed]
    )


def sentence(result: Audit) -> str:
    """Return what the audit tells, empty where nothing was to be audited.

    Args:
        result: of ``audit``
    """
    if not result.system:
        return ""
    if not result.audited:
        return f"Label audit: {result.system} has no held-out prediction of a label."
    share = result.candidates / result.audited
    return (
        f"Label audit: {result.candidates} of {result.audited} held-out utterances ({share:.1%}) are confidently of"
        f" another label by {result.system}; the {len(result.rows)} likeliest errors are in metrics/audit.html and"
        " metrics/audit.csv, to be listened to: a hard utterance and a wrong label look alike."
    )


def records(manifest: Manifest, result: Audit) -> list[dict[str, Any]]:
    """Return the listed utterances: the manifest's columns, and ``likelier`` and ``posterior`` (label to probability).

    Args:
        manifest: the corpus
        result: of ``audit``
    """
    columns = ("utterance_id", "audio", "start_s", "end_s", "speaker", "emotion", "reference_text")
    rows = []
    for row, likelier, posterior in zip(result.rows, result.likelier, result.posterior, strict=True):
        frame = manifest.frame.iloc[int(row)]
        values = {name: None if _missing(frame[name]) else frame[name] for name in columns}
        by_label = dict(zip(result.labels, (float(p) for p in posterior), strict=True))
        rows.append({**values, "likelier": result.labels[int(likelier)], "posterior": by_label})
    return rows


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value)))
