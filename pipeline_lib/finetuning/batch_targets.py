r"""Targets of a batch of training: its rows' own, some annotators left out, mixed as the audio is.

Both follow from the batch's plan alone, so that a resumed run and any number of processes have the same targets. Of a
mixture with share :math:`\lambda` categories are :math:`\lambda t_1 + (1 - \lambda) t_2`, and attributes likewise; what
one of the two lacks is missing of the mixture. Gender and sentiment are kept where both have the same. What SAILER does
with the attributes of its mixtures could not be read; a mean of ratings is as linear as a mean of votes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.experts.loading import Batch
from pipeline_lib.finetuning import votes
from pipeline_lib.finetuning.targets import Targets

_SEED = 0x766F7465  # keeps these random numbers apart from those of the chunk's augmentation
_OWN, _PARTNERS = 0, 1


class BatchTargets:
    """The targets of training by batch; development has ``Targets.arrays``."""

    def __init__(self, targets: Targets, annotator_dropout: float = 0.0, *, mixing: bool = False) -> None:
        """Take the targets.

        Args:
            targets: of all rows of the manifest
            annotator_dropout: chance of an annotator to be left out, in [0, 1)
            mixing: whether batches may be mixed: categories are then distributions
        """
        self.arrays = targets.arrays()
        self.dropout = annotator_dropout
        self.votes = targets.votes if annotator_dropout > 0 else None
        if mixing and targets.soft is None:
            labels = np.arange(len(targets.labels))
            self.arrays |= {"emotion": (targets.emotion[:, None] == labels).astype(np.float32)}

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return the batch's targets by name, first axis of shape ``(batch,)``.

        Args:
            batch: of the epoch's plan
        """
        own = self._of(batch.rows, batch.seeds, _OWN)
        if batch.partners is None or batch.shares is None:
            return own
        partners = self._of(np.where(batch.partners < 0, batch.rows, batch.partners), batch.seeds, _PARTNERS)
        is_mixed = batch.partners >= 0
        mixture = {name: _mixed(values, partners[name], batch.shares, is_mixed) for name, values in own.items()}
        known = own["emotion"].any(axis=1) & partners["emotion"].any(axis=1)
        mixture["emotion"][is_mixed & ~known] = 0.0
        return mixture

    def of_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the targets of several batches one behind the other, first axis of shape ``(n_rows,)``.

        Args:
            batches: of all processes
        """
        parts = [self(batch) for batch in batches]
        return {name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]}

    def _of(self, rows: np.ndarray, seeds: np.ndarray | None, part: int) -> dict[str, np.ndarray]:
        values = {name: array[rows] for name, array in self.arrays.items()}
        if self.votes is None or seeds is None:
            return values
        drawn = [
            votes.some_annotators(self.votes[row], self.dropout, np.random.default_rng([seed, _SEED, part]))
            for row, seed in zip(rows.tolist(), seeds.tolist(), strict=True)
        ]
        return values | {"emotion": votes.shares(np.stack(drawn))}


def _mixed(own: np.ndarray, partners: np.ndarray, shares: np.ndarray, is_mixed: np.ndarray) -> np.ndarray:
    """Return mixed targets: weighted means of floats, of indices those that agree; as they are where nothing is."""
    if not np.issubdtype(own.dtype, np.floating):
        return np.where(is_mixed & (own != partners), -1, own)
    share = shares[:, None].astype(own.dtype)
    return np.where(is_mixed[:, None], share * own + (1 - share) * partners, own)
