"""Splits and subsets that params.yaml names, held against what the corpus has before anything is trained.

The corpus's splits are known as soon as the corpus stage has run: every later stage refuses at its beginning, whatever
it reads itself, a name that no utterance has (``scoring.splits: [tets]`` before the first expert is trained), and a
test split where something would be fitted or chosen.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.params.base import PARAMS, ParameterError, read_params
from pipeline_lib.params.named_splits import TEST, Named, meant, named, on_test
from pipeline_lib.tables.fold_names import DEVELOPMENT, SPLIT
from pipeline_lib.tables.manifest import Manifest

OF_A_FOLD = ("train", "dev", "test")  # splits of a fold's view of the corpus


def wrong(values: Mapping[str, Any], manifest: Manifest) -> list[str]:
    """Return, a line each, the names that the corpus does not have, and test splits that would be tuned on.

    Args:
        values: of params.yaml as read
        manifest: of the corpus
    """
    splits = manifest.frame["split"].to_numpy(dtype=object)
    subsets = {name for row in manifest.frame["subsets"] for name in row}
    known = sorted({*splits, *subsets})
    of_folds = _known_in_folds(splits, subsets)
    mistakes = []
    for each in named(values):
        names = of_folds if each.in_folds else known
        if each.name not in names:
            mistakes.append(
                f"{each.where} names {each.name!r}, which is no split and no subset of {manifest.corpus}"
                f"{meant(each.name, names)}; expected one of {names}"
            )
        elif each.is_tuned_on and not each.may_be_test and (held_out := _held_out(each, manifest, splits)):
            mistakes.append(on_test(each, held_out))
    return mistakes


def refuse_wrong(manifest: Manifest, params: Path = PARAMS) -> None:
    """Refuse names that the corpus does not have, and test splits that would be tuned on, in one list.

    Args:
        manifest: of the corpus
        params: the file

    Raises:
        ParameterError: see ``wrong``
    """
    if mistakes := wrong(read_params(params), manifest):
        raise ParameterError("\n".join(f"{params}: {mistake}" for mistake in mistakes))


def _known_in_folds(splits: np.ndarray, subsets: set[str]) -> list[str]:
    """Return the names that every fold's view of the corpus has, sorted."""
    folds = [f"fold{number}" for number in range(len(subsets)) if f"fold{number}" in subsets]
    parts = [part for part in DEVELOPMENT if all(f"{fold}_{part}" in subsets for fold in folds)]
    general = {name for name in subsets if name.split("_", 1)[0] not in folds}
    return sorted({*OF_A_FOLD, *parts, *general, *splits} - {SPLIT})


def _held_out(each: Named, manifest: Manifest, splits: np.ndarray) -> list[str]:
    """Return the test splits that share utterances with what is tuned on, sorted."""
    if each.in_folds and each.name in (*OF_A_FOLD, *DEVELOPMENT):
        return [TEST] if each.name == TEST else []
    rows = manifest.mask(each.name)
    held_out = {split for split in splits[rows] if split.startswith(TEST)}
    return sorted(held_out | ({SPLIT} if each.in_folds and (splits[rows] == SPLIT).any() else set()))
