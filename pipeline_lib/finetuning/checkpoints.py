"""Checkpoints of a training on disk: safetensors and JSON, whole or absent.

A checkpoint is a folder that is written under a temporary name, synced and renamed; its state.json holds the SHA-256
of itself and of the tensor files. The two newest are kept; one that is damaged is passed over for the one before.
Random states are not among the tensors: every batch seeds the generators from (seed, phase, epoch, batch, piece,
process) before its forward pass.
"""

import hashlib
import shutil
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from pipeline_lib.errors import InputError
from pipeline_lib.storage import atomic, checksummed_json

KEPT = 2
_WEIGHTS, _OPTIMISER = "weights.safetensors", "optimiser.safetensors"


@dataclass
class State:
    """State of a training.

    Attributes:
        phase: number of the phase, from 0
        epoch: epochs finished in it
        batch: batches of the epoch that went into a step
        step: steps of the phase
        total: steps of all phases, which numbers the checkpoints
        splits: parts that a batch is cut into since memory ran out, 1 or 2
        best: the phase's best value of the early-stopping metric, None before the first epoch
        best_epoch: of the phase, from 1
        waited: epochs without a better one
        tally: scores of the running epoch so far
        history: rows of the training curve
        devices: kinds of device that epochs were trained on, sorted
        precisions: of their forward passes, sorted
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    total: int = 0
    splits: int = 1
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    tally: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    precisions: list[str] = field(default_factory=list)

    @property
    def best_file(self) -> str:
        """Name of the file with the phase's best weights."""
        return f"best_{self.phase:02d}_{self.best_epoch:04d}.safetensors"


def write(folder: Path, state: State, weights: dict[str, Tensor], optimiser: dict[str, Tensor]) -> Path:
    """Write a checkpoint and remove all but the newest two, and best weights that neither names.

    Args:
        folder: of the training
        state: where training stands
        weights: trained tensors by name, of any shape
        optimiser: its flattened state, tensors by name, of any shape

    Returns:
        the checkpoint's folder
    """
    path = folder / f"checkpoint_{state.total:08d}"
    contents = {_WEIGHTS: save(weights), _OPTIMISER: save(optimiser)}
    record = {"state": asdict(state), "best_file": state.best_file}
    # it replaces one where the epoch's end falls on a step that was saved: same step, later state
    with atomic.replace_folder(path) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        (temporary / "state.json").write_bytes(checksummed_json.dumps(record, contents, sort_keys=True).encode())
    _tidy(folder)
    return path


def latest(folder: Path) -> tuple[State, dict[str, Tensor], dict[str, Tensor]] | None:
    """Return the newest intact checkpoint, or None; damaged ones are reported on the console.

    Args:
        folder: of the training

    Returns:
        state, weights and the flattened optimiser's state: tensors by name, of the shapes that were written
    """
    for path in reversed(_finished(folder)):
        try:
            record, digests = checksummed_json.read(path / "state.json")
            for name in (_WEIGHTS, _OPTIMISER):
                checksummed_json.check(path / name, digests[name])
            weights, optimiser = (load((path / name).read_bytes()) for name in (_WEIGHTS, _OPTIMISER))
            return State(**record["state"]), weights, optimiser
        except (OSError, InputError, SafetensorError, KeyError, TypeError) as error:  # the last three: of older code
            print(f"{error}\n{path} is damaged; going back to the checkpoint before it", file=sys.stderr)
    return None


def write_best(folder: Path, state: State, weights: dict[str, Tensor]) -> None:
    """Write the weights of the phase's best epoch.

    Args:
        folder: of the training
        state: phase and best epoch
        weights: trained tensors by name, of any shape
    """
    atomic.write_file(folder / state.best_file, save(weights, metadata={"sha256": _digest(weights)}))


def read_best(folder: Path, state: State) -> dict[str, Tensor]:
    """Return the weights of the phase's best epoch.

    Args:
        folder: of the training
        state: phase and best epoch

    Returns:
        tensors by name, of the shapes that were written

    Raises:
        InputError: the file is damaged, or was removed while training ran
    """
    path = folder / state.best_file
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read: {error}; remove {folder} to train again") from None
    if metadata.get("sha256") != _digest(weights):
        raise InputError(f"{path} is damaged; remove {folder} to train again")
    return weights


def discard(folder: Path) -> None:
    """Remove checkpoints and best weights; logs stay."""
    for path in [*folder.glob("checkpoint_*"), *folder.glob(".checkpoint_*")]:
        shutil.rmtree(path)
    for path in [*folder.glob("best_*.safetensors"), *folder.glob(".best_*")]:
        path.unlink()


def _finished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("checkpoint_*") if (path / "state.json").is_file())


def _tidy(folder: Path) -> None:
    paths = _finished(folder)
    for path in [*paths[:-KEPT], *folder.glob(".checkpoint_*")]:
        shutil.rmtree(path)
    records = [(path / "state.json").read_text(encoding="utf-8") for path in paths[-KEPT:]]
    for best in folder.glob("best_*.safetensors"):
        if not any(best.name in record for record in records):
            best.unlink()


def _digest(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
