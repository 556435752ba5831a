"""Splits that params.yaml names beside those of the manifest that is there."""

import sys
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import FILLER, read_params
from pipeline_lib.tables import manifest
from pipeline_lib.tables.named_splits import wrong


def warn_of_splits(params: Path, path: Path = Path(FILLER)) -> None:
    """Print a warning of each split or subset that the manifest lacks, or would be tuned on though it is a test split.

    The manifest may be of an earlier corpus: the stages refuse what is wrong of the one that they read.

    Args:
        params: the file
        path: of the manifest; where there is none yet, or it cannot be read, nothing is printed
    """
    try:
        corpus = manifest.read(path)
    except InputError:
        return
    for mistake in wrong(read_params(params), corpus):
        print(f"warning: {path} as it is now: {mistake}", file=sys.stderr)
