"""Folds for made corpora, as the corpus stage writes them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline_lib.tables.folds import SPLIT, name_of
from pipeline_lib.tables.manifest import Manifest


def deal(of: Manifest, number: int, outside: int = 0) -> Manifest:
    """Return the manifest with row ``i`` tested by fold ``i % number``, and developed on by the fold before.

    Args:
        of: the corpus; its own splits and subsets are lost
        number: of folds
        outside: so many of the last rows belong to no fold
    """
    inside = len(of) - outside
    labelled = of.truth() >= 0
    subsets = []
    for row in range(inside):
        names = [name_of(row % number)]
        developed = f"{name_of((row - 1) % number)}_dev"
        names += [developed, *((f"{developed}_filt", f"{developed}_bal") if labelled[row] else ())]
        subsets.append(names)
    subsets += [[] for _ in range(outside)]
    split = np.where(np.arange(len(of)) < inside, SPLIT, "unlabelled")
    return replace(of, frame=of.frame.assign(split=split, subsets=pd.Series(subsets, dtype=object)))
