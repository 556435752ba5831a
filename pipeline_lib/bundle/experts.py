"""Copies of trained experts in a bundle, in which checkpoints have the bundle's names."""

import json
from pathlib import Path
from typing import Any

from pipeline_lib.bundle.checkpoints import Checkpoints
from pipeline_lib.bundle.format import MODELS
from pipeline_lib.experts import disk, folds
from pipeline_lib.modalities import MODALITIES
from pipeline_lib.storage import checksummed_json

SETTINGS = "settings.json"


def copy(source: Path, target: Path, checkpoints: Checkpoints) -> None:
    """Copy an expert, of folds that of each; its tensors are the same bytes.

    Args:
        source: folder of the expert
        target: its folder in the bundle
        checkpoints: that it reads, which are noted

    Raises:
        InputError: a file is missing or damaged, or a checkpoint is not there
    """
    of_folds = folds.experts_of(source)
    if not of_folds:
        _copy_one(source, target, checkpoints)
        return
    for folder in of_folds:
        _copy_one(folder, target / folder.name, checkpoints)
    record, _ = checksummed_json.read(source / folds.RECORD)
    settings = {f"{folder.name}/{SETTINGS}": (target / folder.name / SETTINGS).read_bytes() for folder in of_folds}
    text = checksummed_json.dumps(record, settings, indent=2, sort_keys=True)
    (target / folds.RECORD).write_text(text + "\n", encoding="utf-8")


def _copy_one(source: Path, target: Path, checkpoints: Checkpoints) -> None:
    disk.read_settings(source)  # refuses another format version
    target.mkdir(parents=True)
    record, digests = checksummed_json.read(source / SETTINGS)
    for name, digest in digests.items():
        checksummed_json.check(source / name, digest)
        (target / name).write_bytes((source / name).read_bytes())
    record["branches"] = {name: _branch(branch, checkpoints) for name, branch in record["branches"].items()}
    text = checksummed_json.dumps_of(record, digests, indent=2, sort_keys=True)
    (target / SETTINGS).write_text(text + "\n", encoding="utf-8")
    for name in MODALITIES:
        if (source / name / SETTINGS).is_file():
            _copy_one(source / name, target / name, checkpoints)


def _branch(branch: dict[str, Any], checkpoints: Checkpoints) -> dict[str, Any]:
    """Return a branch whose encoder is called as in the bundle."""
    branch = json.loads(json.dumps(branch))
    if branch.get("encoder") is not None:
        branch["encoder"] = {k: v for k, v in checkpoints.renamed(branch["encoder"]).items() if v is not None}
        digest = checkpoints.digest(branch["encoder"]["checkpoint"])
        if digest is not None:
            branch["digest"] = digest
    if branch.get("expert") is not None:
        branch["expert"] = f"{MODELS}/{Path(branch['expert']).name}"
    return branch
