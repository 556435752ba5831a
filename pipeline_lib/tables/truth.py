"""Labels of some splits, handed out together with the record that they were read.

Every stage that makes an artifact reads labels here and nowhere else: utterances of other splits have none, so that
nothing can be fitted or chosen on what the record does not name. Scoring reads the manifest itself, since a score
makes nothing that a later stage reads; ``tests/test_provenance.py`` lists the modules that do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.provenance import Provenance

TEST = "test"  # a split whose name begins so is scored only


@dataclass(frozen=True)
class Labels:
    """Labels of some splits of a corpus.

    Attributes:
        manifest: the corpus
        inside: its utterances whose labels these are, bool, shape ``(n,)``
        record: the splits, as what they were read for
    """

    manifest: Manifest
    inside: np.ndarray
    record: Provenance

    def classes(self, labels: Sequence[str] | None = None) -> np.ndarray:
        """Return label indices, int64, shape ``(n,)``; -1 outside, and where the emotion is not among ``labels``."""
        return np.where(self.inside, self.manifest.truth(labels), -1)

    def values(self, names: Sequence[str] = ATTRIBUTES) -> np.ndarray:
        """Return attributes on the corpus's scale, float64, shape ``(n, n_names)``; NaN outside and where missing."""
        return np.where(self.inside[:, None], self.manifest.attributes(names), np.nan)

    def emotions(self) -> list[str | None]:
        """Return the emotions, O and X among them; None outside."""
        return self._column("emotion")

    def votes(self) -> list[dict[str, int] | None]:
        """Return the annotators' votes; None outside."""
        return self._column("votes")

    def _column(self, name: str) -> list[Any]:
        pairs = zip(self.manifest.frame[name], self.inside, strict=True)
        return [value if inside else None for value, inside in pairs]


def labels_of(
    manifest: Manifest,
    *,
    fit: Sequence[str] = (),
    choose: Sequence[str] = (),
    where: str = "",
    allow_test: bool = False,
) -> Labels:
    """Return the labels of these splits, and the record that they were read.

    Args:
        manifest: the corpus, or the view of a fold, whose splits are recorded by their names in the corpus
        fit: splits and subsets to fit something on
        choose: splits and subsets to choose something on
        where: dotted name of the parameter that names them, for the message
        allow_test: whether they may hold utterances of a test split

    Raises:
        InputError: there is no such split or subset, or it holds utterances of a test split
    """
    inside = np.zeros(len(manifest), dtype=bool)
    for name in (*fit, *choose):
        rows = manifest.mask(name)
        if not allow_test:
            _refuse_test(manifest, rows, name, where)
        inside |= rows
    fitted, chosen = (tuple(own for name in names for own in manifest.own_names(name)) for names in (fit, choose))
    return Labels(manifest, inside, Provenance(fitted, chosen))


def held_out_splits(manifest: Manifest, rows: np.ndarray) -> list[str]:
    """Return the test splits that some utterances are of, sorted.

    Args:
        manifest: the corpus
        rows: bool, shape ``(n,)``
    """
    return sorted({split for split in manifest.frame["split"][rows] if split.startswith(TEST)})


def _refuse_test(manifest: Manifest, rows: np.ndarray, name: str, where: str) -> None:
    held_out = held_out_splits(manifest, rows)
    if held_out:
        raise InputError(
            f"{where or 'a split to tune on'} is {name!r}, which shares utterances with {held_out}; expected"
            " development data only (allow_test_tuning: true beside it tunes there all the same, and every report says"
            " so)"
        )
