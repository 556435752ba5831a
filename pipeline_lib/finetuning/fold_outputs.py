"""Outputs of one fold's training under work/, until all folds are put together: whole, or to be made again.

``finished.json`` stands beside the folder ``outputs`` once it is whole, and holds the SHA-256 of each file in it.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import finetune as training
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.storage.fingerprint import file_digest
from pipeline_lib.tables import folds
from pipeline_lib.tables.manifest import Manifest

RECORD, OUTPUTS = "finished.json", "outputs"
POLL_S = 0.2


@dataclass(frozen=True)
class Fold:
    """One fold's training.

    Attributes:
        number: from 0
        count: of the folds
        corpus: the manifest as the fold has it
        settings: the entry, its branches' encoders those of the fold
        labels: that it trains
        folder: of its unfinished work
    """

    number: int
    count: int
    corpus: Manifest
    settings: FinetuningSettings
    labels: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Name of its files."""
        return folds.name_of(self.number)

    @property
    def outputs(self) -> dict[str, Path]:
        """Paths of what it writes, until all folds are put together: expert, curve, alone and table."""
        names = {"expert": "expert", "curve": "curve.csv", "alone": "alone", "table": "predictions.parquet"}
        return {role: self.folder / OUTPUTS / name for role, name in names.items()}


def wait_for(folder: Path) -> None:
    """Wait until the main process has predicted and recorded the outputs; a collective operation would time out.

    Args:
        folder: of the fold's unfinished work
    """
    while not (folder / RECORD).exists():
        time.sleep(POLL_S)


def finished(accelerator: Accelerator, parts: Sequence[Fold], work: Path) -> set[int]:
    """Return the numbers of folds whose outputs an earlier run left whole; what is left of others is removed.

    Args:
        accelerator: of accelerate
        parts: all folds
        work: folder of unfinished work, for messages

    Raises:
        InputError: the processes do not see the same outputs
    """
    whole = {part.number for part in parts if _is_finished(part.folder)}
    if accelerator.num_processes > 1:
        seen = gather_object([sorted(whole)])
        if any(each != seen[0] for each in seen):
            raise InputError(
                f"the processes see different finished folds, {seen}: {work} is not the same folder for all of them;"
                " put it on a disk that all machines share, or remove it on each"
            )
    if accelerator.is_main_process:
        for part in parts:
            if part.number not in whole:
                (part.folder / RECORD).unlink(missing_ok=True)
                shutil.rmtree(part.folder / OUTPUTS, ignore_errors=True)
    return whole


def write_record(folder: Path) -> None:
    """Record the outputs as whole.

    Args:
        folder: of the fold's unfinished work
    """
    files = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder / OUTPUTS)}
    atomic.write_file(folder / RECORD, checksummed_json.dumps({"files": files}, sort_keys=True))


def discard(folders: Sequence[Path]) -> None:
    """Remove the outputs of folds that are put together, and what a training leaves; logs stay.

    Args:
        folders: of the folds' unfinished work
    """
    for folder in folders:
        (folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(folder / OUTPUTS, ignore_errors=True)
        training.discard(folder)


def _is_finished(folder: Path) -> bool:
    """Return whether the outputs are those of the record; damaged ones are reported on the console."""
    try:
        record, _ = checksummed_json.read(folder / RECORD)
    except FileNotFoundError:
        return False
    except InputError as error:
        print(f"{error}\n{folder} is trained again", file=sys.stderr)
        return False
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder / OUTPUTS)}
    files = record.get("files")
    if isinstance(files, dict) and files == {name: file_digest(path) for name, path in present.items()}:
        return True
    print(f"{folder / OUTPUTS} is damaged: its files are not those of {RECORD}; trained again", file=sys.stderr)
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
