"""Speakers on both sides: in two of train, dev and test, or in two folds."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline_lib.corpus.layout import Custom
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.tables.fold_names import name_of

SCORED = re.compile(r"test\d*")


def sides(frame: pd.DataFrame) -> pd.Series:
    """Return the fold that tests each row, its split where there is none.

    Args:
        frame: with ``split`` and ``fold``, -1 outside of the folds
    """
    folds = [name_of(fold) if fold >= 0 else split for split, fold in zip(frame["split"], frame["fold"], strict=True)]
    return pd.Series(folds, index=frame.index, dtype=object)


def leaks(frame: pd.DataFrame) -> list[str]:
    """Return the speakers with utterances on two sides; tests may share speakers among themselves.

    Rows without a speaker, and the split ``unlabelled``, are left out.

    Args:
        frame: with ``split``, ``speaker`` and ``fold``, -1 outside of the folds
    """
    kinds = sides(frame).map(lambda name: "test" if SCORED.fullmatch(name) else name)
    is_used = kinds.isin(["train", "dev", "test"]) | (frame["fold"] >= 0)
    inside = is_used & frame["speaker"].notna()
    counts = kinds[inside].groupby(frame["speaker"][inside]).nunique()
    return sorted(counts.index[counts > 1])


def leak_warnings(frame: pd.DataFrame, settings: CorpusSettings, custom: Custom, forms: Sequence[str]) -> list[str]:
    """Return the warning on speakers that cross splits or folds, for every report.

    Args:
        frame: see ``leaks``
        settings: the section ``corpus``
        custom: the reader's defaults
        forms: notes on the spelling of speakers

    Raises:
        InputError: speakers cross, and neither the settings nor the corpus's official protocol allow it
    """
    crossing = leaks(frame)
    if not crossing:
        return []
    in_folds = np.asarray(frame["fold"] >= 0)
    where = "two folds" if in_folds.any() else "two of train, dev and test"
    official = settings.split.method in (None, "official") or (in_folds.any() and not leaks(frame[in_folds]))
    if custom.leak and official:
        return [custom.leak]
    if settings.allow_speaker_leak:
        return [f"{len(crossing)} speakers have utterances in {where}: scores hold for known voices."]
    named = ", ".join(crossing[:5]) + (" ..." if len(crossing) > 5 else "")
    cut = "Deal out speakers (corpus.split.folds.by: speakers)" if in_folds.any() else "Cut by speaker"
    how = "" if in_folds.any() else " (corpus.split.method: speakers)"
    raise InputError(
        f"{len(crossing)} speakers have utterances in {where}: {named}. {cut}{how}, or set"
        f" corpus.allow_speaker_leak: true and every report will say so{''.join(f'; {form}' for form in forms)}"
    )
