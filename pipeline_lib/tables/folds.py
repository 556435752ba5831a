"""Cross-validation over a corpus: what each fold trains, develops and tests on, and the table of all folds together.

The corpus stage writes the folds into the manifest. An utterance that takes part has the split ``folds`` and exactly
one of the subsets ``fold0`` ... ``fold{k-1}``: the model of that fold is tested on it. The subsets ``fold0_dev``,
``fold0_dev_filt``, ``fold0_dev_bal`` ... name each fold's development part, drawn from its training speakers. A stage
that works fold by fold gives every fold a view of the manifest in which the split is train, dev or test, so that all
code beneath it is that of a single split; nothing of a test fold can then be fitted, chosen or early-stopped on.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline_lib.errors import InputError
from pipeline_lib.tables.fold_names import DEVELOPMENT, SPLIT, name_of
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import join
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import NAMES, Provenance

__all__ = ["DEVELOPMENT", "SPLIT", "count", "fold_of", "joined", "name_of", "out_of_fold", "required", "view"]


def count(manifest: Manifest) -> int:
    """Return the number of folds, 0 where the corpus has none."""
    if not (manifest.frame["split"] == SPLIT).any():
        return 0
    names = {name for row in manifest.frame["subsets"] for name in row}
    numbers = 0
    while name_of(numbers) in names:
        numbers += 1
    return numbers


def required(manifest: Manifest, what: str) -> int:
    """Return the number of folds.

    Args:
        manifest: of the corpus
        what: needs them, for the message: "finetuning.audio.folds is true"

    Raises:
        InputError: the corpus has none
    """
    number = count(manifest)
    if not number:
        raise InputError(f"{what}, but the manifest has no folds: set corpus.split.method: folds")
    return number


def fold_of(manifest: Manifest) -> np.ndarray:
    """Return the fold that tests each utterance, int64, shape ``(n,)``; -1 outside of the folds.

    Args:
        manifest: with or without folds
    """
    result = np.full(len(manifest), -1, dtype=np.int64)
    for fold in range(count(manifest)):
        result[manifest.mask(name_of(fold))] = fold
    return result


def view(manifest: Manifest, fold: int) -> Manifest:
    """Return the manifest as one fold has it: its splits train, dev and test, its subsets dev_filt and dev_bal.

    Rows outside of the folds keep split and subsets. Subsets of the other folds are left out.

    Args:
        manifest: with folds
        fold: number from 0, below ``count(manifest)``
    """
    own = name_of(fold)
    inside = (manifest.frame["split"] == SPLIT).to_numpy()
    others = {name_of(number) for number in range(count(manifest))}
    splits = manifest.frame["split"].to_numpy(dtype=object).copy()
    subsets: list[list[str]] = []
    trained: set[str] = set()
    for row, names in enumerate(manifest.frame["subsets"]):
        if inside[row]:
            splits[row] = "test" if own in names else "dev" if f"{own}_dev" in names else "train"
            trained |= others & {*names} if splits[row] == "train" else set()
        general = [name for name in names if name.split("_", 1)[0] not in others]
        subsets.append([*general, *(part for part in DEVELOPMENT[1:] if f"{own}_{part}" in names)])
    frame = manifest.frame.assign(split=splits, subsets=pd.Series(subsets, dtype=object))
    return replace(manifest, frame=frame, names_in_corpus=_names_in_corpus(manifest, own, trained))


def _names_in_corpus(manifest: Manifest, own: str, trained: set[str]) -> dict[str, tuple[str, ...]]:
    """Return what the splits and subsets of a fold's view are called in the corpus.

    Its training part, which has no name, is named by the other folds that it is of: all of them, its development part
    included, without the utterances of its test.
    """
    names = {"train": sorted(trained), "test": [own]} | {part: [f"{own}_{part}"] for part in DEVELOPMENT}
    outside = manifest.frame[manifest.frame["split"] != SPLIT]
    kept = {*outside["split"], *(name for row in outside["subsets"] for name in row)}
    return {name: (*of_folds, *({name} & kept)) for name, of_folds in names.items()}


def out_of_fold(manifest: Manifest, tables: Sequence[Predictions]) -> Predictions:
    """Return one table of all folds: every utterance as the model that was not trained on it predicts it.

    An utterance outside of the folds has the mean of the models' posteriors and of their attributes. Embeddings of
    different models share no space: there are none. ``training_prior`` is the mean of the folds' priors.
    Of a model's ``provenance`` only what holds an utterance that it predicts here remains: nothing, unless a model read
    labels of its own fold. Device and precision are all folds'.

    Args:
        manifest: with folds
        tables: predictions of each fold's model, in the order of the folds; a table may lack utterances

    Raises:
        InputError: the tables are not one a fold, or differ in labels or attributes
    """
    first, number = tables[0], count(manifest)
    if len(tables) != number:
        raise InputError(f"{first.expert!r} has tables of {len(tables)} folds, the manifest has {number} folds")
    folds = pd.Series(fold_of(manifest), index=manifest.ids)
    ids = _ids(tables)
    own = folds.reindex(ids).to_numpy()
    return joined(tables, np.stack([(own == fold) | (own == -1) for fold in range(number)]), manifest)


def joined(
    tables: Sequence[Predictions], may_take: np.ndarray | None = None, manifest: Manifest | None = None
) -> Predictions:
    """Return one table of several members' tables: of each utterance the mean of those that have it and may be taken.

    Args:
        tables: predictions of each fold's model, in the order of the folds; a table may lack utterances
        may_take: of each table and each utterance of any table, sorted, whether it counts, bool, shape
            ``(n_folds, n)``; None for all
        manifest: tells which utterances the labels are of that a model read; None: all of them are recorded

    Returns:
        without utterances of which no table counts; see ``out_of_fold``

    Raises:
        InputError: the tables differ in labels or attributes
    """
    first = tables[0]
    for fold, table in enumerate(tables):
        if (table.labels, table.attribute_names) != (first.labels, first.attribute_names):
            raise InputError(
                f"{first.expert!r}: {name_of(fold)} predicts {[*table.labels, *table.attribute_names]},"
                f" fold0 {[*first.labels, *first.attribute_names]}"
            )
    ids = _ids(tables)
    takes = np.stack([_has(table, ids) for table in tables])
    takes = takes if may_take is None else takes & may_take
    kept = takes.any(axis=0)
    takes, ids = takes[:, kept], ids[kept]
    priors = [table.training_prior for table in tables if table.training_prior is not None]
    return replace(
        first,
        utterance_ids=ids,
        posterior=_mean(tables, "posterior", ids, takes),
        attributes=_mean(tables, "attributes", ids, takes),
        training_prior=np.mean(priors, axis=0) if len(priors) == len(tables) else None,
        embedding=None,
        provenance=_provenance(tables, ids, takes, manifest),
        device=join(table.device for table in tables if table.device is not None),
        precision=join(table.precision for table in tables if table.precision is not None),
    )


def _provenance(
    tables: Sequence[Predictions], ids: np.ndarray, takes: np.ndarray, manifest: Manifest | None
) -> Provenance:
    """Return the record of the joined table: of each model's the splits that hold an utterance which it is taken for.

    Args:
        tables: of the models
        ids: of the joined table, shape ``(n,)``
        takes: of each table and utterance whether it is taken, bool, shape ``(n_folds, n)``
        manifest: of the corpus; None: all that any model read
    """
    if manifest is None:
        return Provenance.joined(table.provenance for table in tables)
    records = []
    for table, taken in zip(tables, takes, strict=True):
        rows = manifest.frame[np.isin(manifest.ids.astype(str), ids[taken].astype(str))]
        here = {*rows["split"], *(name for row in rows["subsets"] for name in row)}
        fitted, chosen = ({*getattr(table.provenance, name)} & here for name in NAMES[:2])
        records.append(Provenance(tuple(fitted), tuple(chosen), table.provenance.not_recorded, out_of_fold=True))
    return Provenance.joined(records)


def _ids(tables: Sequence[Predictions]) -> np.ndarray:
    return np.array(sorted({str(name) for table in tables for name in table.utterance_ids}), dtype=object)


def _has(table: Predictions, ids: np.ndarray) -> np.ndarray:
    return np.isin(ids.astype(str), table.utterance_ids.astype(str))


def _mean(tables: Sequence[Predictions], name: str, ids: np.ndarray, takes: np.ndarray) -> np.ndarray | None:
    """Return the mean over the tables of which ``takes``, bool, shape ``(n_folds, n)``, is true, shape ``(n, m)``."""
    values = [getattr(table, name) for table in tables]
    if any(value is None for value in values):
        return None
    total = np.zeros((len(ids), values[0].shape[1]))
    for table, value, rows in zip(tables, values, takes, strict=True):
        total[rows] += value[pd.Index(table.utterance_ids).get_indexer(ids[rows])]
    return total / takes.sum(axis=0)[:, None]
