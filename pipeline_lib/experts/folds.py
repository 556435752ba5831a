"""Storage of an expert with folds: one whole expert a fold, and folds.json, which counts them.

==================== =================================================================================================
folds.json           number of folds, and the SHA-256 of each fold's settings.json, which holds those of its tensors
fold0/ fold1/ ...    the expert that was trained without the utterances of that fold, as ``disk`` describes it
==================== =================================================================================================
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.storage import atomic, checksummed_json

RECORD, SETTINGS = "folds.json", "settings.json"
FORMAT_VERSION = 1
NAME = "fold{}"  # as ``tables.folds`` names folds


def save(folder: Path, experts: Sequence[Path]) -> None:
    """Write an expert with folds through a temporary folder, from the saved experts of its folds.

    Args:
        folder: of the expert; replaced where it exists
        experts: folders of the folds' experts, in order
    """
    with atomic.replace_folder(folder) as temporary:
        settings = {}
        for number, expert in enumerate(experts):
            copy = temporary / NAME.format(number)
            shutil.copytree(expert, copy, copy_function=_link)
            settings[f"{copy.name}/{SETTINGS}"] = (copy / SETTINGS).read_bytes()
        record = {"format_version": FORMAT_VERSION, "folds": len(experts)}
        text = checksummed_json.dumps(record, settings, indent=2, sort_keys=True) + "\n"
        (temporary / RECORD).write_bytes(text.encode())


def experts_of(folder: Path) -> list[Path]:
    """Return the folders of the folds' experts, in order; none where the folder holds one expert or does not exist.

    Raises:
        InputError: it holds one expert as well, or a fold is missing, damaged or of another training
    """
    try:
        record, digests = checksummed_json.read(folder / RECORD)
    except FileNotFoundError:
        return []
    if (folder / SETTINGS).exists():
        raise InputError(
            f"{folder} holds one expert ({SETTINGS}) and those of folds ({RECORD}), expected either; remove the folder"
            " and train the expert again (dvc repro)"
        )
    if record.get("format_version") != FORMAT_VERSION:
        version = record.get("format_version")
        raise InputError(
            f"{folder / RECORD} has format version {version}, this code reads {FORMAT_VERSION}; train the expert again"
        )
    experts = [folder / NAME.format(number) for number in range(record["folds"])]
    for expert in experts:
        path = expert / SETTINGS
        if not path.is_file():
            raise InputError(
                f"{path} does not exist, {folder / RECORD} counts {len(experts)} folds; train the expert again"
            )
        checksummed_json.check(path, digests.get(f"{expert.name}/{SETTINGS}"))
    return experts


def is_fold(folder: Path) -> bool:
    """Return whether the folder is that of a fold's expert within an expert with folds."""
    return (folder.parent / RECORD).is_file()


def refuse(folder: Path) -> None:
    """Refuse the folder of an expert with folds where one expert is expected.

    Raises:
        InputError: it holds experts of folds
    """
    if (folder / RECORD).is_file():
        raise InputError(
            f"{folder} holds an expert a fold ({RECORD}), expected one expert; name {folder / NAME.format(0)}"
            " or another of them, which has seen the utterances of every fold but its own"
        )


def _link(source: str, target: str) -> None:
    """Link a file, so that large weights are not written twice; copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
