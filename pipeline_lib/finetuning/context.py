"""Parts of a training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from torch import nn

from pipeline_lib.experts import availability
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.finetuning.augmentation.augment import Augmentation
from pipeline_lib.finetuning.logs import Logs
from pipeline_lib.finetuning.targets import Targets
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.params.training import PhaseSettings


@dataclass(frozen=True)
class TrainingContext:
    """One expert's training.

    Attributes:
        name: of the expert
        network: on its device
        settings: the entry
        utterances: all rows of the manifest, as the expert reads them
        targets: of all these rows, as are ``classes``
        classes: label indices for a balanced sampler, shape ``(n,)``
        train: rows to train on, shape ``(n_train,)``
        dev: rows that early stopping measures on, shape ``(n_dev,)``
        accelerator: of accelerate
        folder: for checkpoints
        logs: where values go
        augment: augmentation of training chunks, None for none
        machine: how the work is done
        fold: number from 0 and how many there are, None without folds
    """

    name: str
    network: nn.Module
    settings: FinetuningSettings
    utterances: Utterances
    targets: Targets
    classes: np.ndarray
    train: np.ndarray
    dev: np.ndarray
    accelerator: Accelerator
    folder: Path
    logs: Logs
    augment: Augmentation | None = None
    machine: FinetuningMachine = FINETUNING
    fold: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """What is trained, for messages: the expert, and which fold."""
        return self.name if self.fold is None else f"{self.name}, fold {self.fold[0] + 1} of {self.fold[1]}"

    def rows(self, phase: PhaseSettings) -> np.ndarray:
        """Return the rows of ``train`` that take part in any pass of the phase, shape ``(n_rows,)``."""
        present, modalities = self.utterances.present[self.train], self.utterances.modalities
        return self.train[availability.takes_part(present, modalities, self.settings.passes_of(phase))]

    def development_rows(self, combination: str) -> np.ndarray:
        """Return the rows of ``dev`` on which the combination is measured, shape ``(n_rows,)``."""
        present, modalities = self.utterances.present[self.dev], self.utterances.modalities
        return self.dev[availability.shows(present, modalities, combination)]

    @property
    def half(self) -> bool:
        """Whether bfloat16 is expected where the hardware has it."""
        return self.settings.precision != "float32"

    @property
    def counts(self) -> np.ndarray:
        """Training examples of each trained label, int64, shape ``(n_labels,)``; by consensus."""
        known = self.targets.emotion[self.train]
        return np.bincount(known[known >= 0], minlength=len(self.targets.labels))

    @property
    def soft_counts(self) -> np.ndarray | None:
        """With soft labels, the training targets summed by consensus label, shape ``(n_labels + 1, n_labels)``.

        The last row sums the utterances without consensus.
        """
        soft = self.targets.soft
        if soft is None:
            return None
        sums = np.zeros((soft.shape[1] + 1, soft.shape[1]))
        np.add.at(sums, self.targets.emotion[self.train], soft[self.train])  # -1 is the last row
        return sums

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Targets of the losses by name, over all rows, first axis of shape ``(n,)``."""
        return self.targets.arrays()
