"""What a phase minimises: its losses of one network's outputs, or of a joint network's passes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline_lib import losses
from pipeline_lib.finetuning import optimisation
from pipeline_lib.finetuning.job import Job
from pipeline_lib.finetuning.phase_settings import AUXILIARY, PhaseSettings
from pipeline_lib.networks.joint import Pass

READ = {"contrastive": "aligned"}  # what a joint network hands an auxiliary loss; others read what is named as they are


class Objective:
    r"""The weighted losses of a phase.

    Of a joint expert the supervised losses are averaged over the passes in which the batch has anyone, and auxiliary
    losses are added to them:

    .. math:: \frac{1}{P} \sum_p \sum_k w_k L_k(p) + \sum_a w_a L_a
    """

    def __init__(self, job: Job, phase: PhaseSettings) -> None:
        """Take the phase's weights, and class weights from the job's training examples."""
        asked = job.settings.losses_of(phase)
        self.weights = {name: weight for name, weight in asked.weights().items() if name not in AUXILIARY}
        self.auxiliary = {name: getattr(asked, name) for name in AUXILIARY if getattr(asked, name) > 0}
        counts = job.counts if job.soft_counts is None else job.soft_counts.sum(axis=0)
        by_class = optimisation.class_weights(counts, asked)
        self.options = {
            "class_weights": None if by_class is None else torch.from_numpy(by_class),
            "focal_gamma": asked.focal_gamma,
            "similarity": asked.pairs.model_dump(),
        }

    @property
    def wanted(self) -> list[str]:
        """What the auxiliary losses read of a joint network."""
        return [READ.get(name, name) for name in self.auxiliary]

    def supervised(self, outputs: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of some utterances' outputs."""
        return losses.combined(outputs, truth, self.weights, **self.options)[0]

    def of_passes(self, found: Mapping[str, Any], truth: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a batch from what a joint network's passes found."""
        passes = [each for each in found.values() if isinstance(each, Pass)]
        each = [
            self.supervised(part.outputs, {name: values[part.rows] for name, values in truth.items()})
            for part in passes
        ]
        total = torch.stack(each).mean()
        return total + losses.combined(found, {}, self.auxiliary)[0] if self.auxiliary else total
