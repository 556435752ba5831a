"""Members of a system of folds, and which utterances each of them predicts.

An utterance of the folds is predicted by the member that was not trained on it, as in the pipeline; any other by all,
whose mean is taken. A system without folds has one member, which predicts everything.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.inference.system_protocol import System
from pipeline_lib.tables import manifest as manifests
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

OUTSIDE = -1


@dataclass(frozen=True)
class Member:
    """What one fold trained, or the whole of a system without folds.

    Attributes:
        fold: number from 0; None without folds
        rows: of the manifest, that it predicts, bool, shape ``(n,)``
    """

    fold: int | None
    rows: np.ndarray

    def folder(self, stem: Path) -> Path:
        """Return the folder of the member's model: the stem itself, or that of the fold in it.

        Args:
            stem: folder of all members
        """
        return stem if self.fold is None else stem / name_of(self.fold)

    def table(self, stem: str) -> str:
        """Return the path of the member's table relative to ``data/``, as the stages name it.

        Args:
            stem: of the table of all members, without suffix: rebalanced/audio
        """
        if self.fold is None:
            return f"{stem}.parquet"
        kind, name = stem.split("/", 1)
        return f"{kind}_folds/{name}/{name_of(self.fold)}.parquet"

    def own(self, table: Predictions, manifest: Manifest) -> Predictions:
        """Return a table with the utterances that the member predicts alone.

        Args:
            table: of any utterances of the manifest
            manifest: all utterances
        """
        rows = np.isin(table.utterance_ids.astype(str), manifest.ids[self.rows].astype(str))
        values = {name: getattr(table, name) for name in ("utterance_ids", "posterior", "attributes", "embedding")}
        return replace(table, **{name: value[rows] for name, value in values.items() if value is not None})


def members_of(project: System, manifest: Manifest, *, named: bool = True) -> list[Member]:
    """Return the members that predict any utterance of the manifest.

    Args:
        project: of the system
        manifest: the utterances; those of the subsets fold0, fold1 ... are taken for those that the system was
            cross-validated on
        named: whether utterances have the names of the project's manifest, whose folds theirs must then be

    Raises:
        InputError: the manifest is empty, or has folds that are not the system's
    """
    if not len(manifest):
        raise InputError(f"{manifest.corpus} has no utterance, expected at least one to predict")
    number = project.n_folds
    if not number:
        return [Member(None, np.ones(len(manifest), dtype=bool))]
    own = _fold_of(manifest)
    if (own >= number).any():
        raise InputError(
            f"{manifest.corpus} has the subset {name_of(int(own.max()))}, and the system of {project.folder} has"
            f" {number} folds; expected the corpus that it was trained on, or one without folds"
        )
    if named:
        _refuse_other_folds(project, manifest, own)
    members = [Member(fold, (own == fold) | (own == OUTSIDE)) for fold in range(number)]
    return [member for member in members if member.rows.any()]


def _fold_of(manifest: Manifest) -> np.ndarray:
    """Return the fold that tests each utterance, int64, shape ``(n,)``; the manifest may lack whole folds."""
    result = np.full(len(manifest), OUTSIDE, dtype=np.int64)
    for row, subsets in enumerate(manifest.frame["subsets"]):
        for name in subsets:
            if match := re.fullmatch(r"fold(\d+)", name):
                result[row] = int(match[1])
    return result


def _refuse_other_folds(project: System, manifest: Manifest, own: np.ndarray) -> None:
    """Refuse folds that are not those of the project's manifest, as far as it is there."""
    path = project.folder / "data" / "manifest.parquet"
    if (own == OUTSIDE).all() or not path.is_file():
        return
    trained = manifests.read(path)
    known = dict(zip(trained.ids, _fold_of(trained), strict=True))
    for name, fold in zip(manifest.ids, own, strict=True):
        if fold != OUTSIDE and known.get(name, OUTSIDE) != fold:
            where = name_of(known[name]) if known.get(name, OUTSIDE) != OUTSIDE else "no fold"
            raise InputError(
                f"{manifest.corpus}: {name!r} is of {name_of(int(fold))} and in {path} of {where}; expected the folds"
                " that the system was trained by, or an utterance without (another corpus is collected without folds)"
            )
