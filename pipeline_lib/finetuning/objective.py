"""Objective of a phase: its losses of one network's outputs, or of a joint network's passes.

A step has one loss, of all its utterances, however they are cut into batches, halves and processes. A loss that is a
mean over rows is summed part by part and divided by what the whole step has; one of all utterances together
(``losses.Together``) is computed of all outputs, and its gradient handed back to each part, as Gao, Zhang, Han and
Callan, "Scaling deep contrastive learning batch size under memory limited setup", RepL4NLP 2021, do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline_lib import losses
from pipeline_lib.finetuning import optimisation
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.losses import Mean, Together
from pipeline_lib.networks.network import Pass
from pipeline_lib.networks.presence import taking
from pipeline_lib.params.training import AUXILIARY, OF_SEVERAL, PhaseSettings

# Results of a joint network that auxiliary losses read, where they are not named as the loss is.
AUXILIARY_INPUTS = {"contrastive": "aligned"}

Key = tuple[str, str, str]  # pass, or nothing for an auxiliary loss; loss; which part of it
Gradients = tuple[Tensor, ...]


@dataclass(frozen=True)
class Part:
    """The losses of one part of a step.

    Attributes:
        terms: each loss of each pass
        passes: those in which the part has anyone; of an audio or text expert the only one, ``""``
    """

    terms: Mapping[Key, Mean | Together]
    passes: frozenset[str]

    def summary(self) -> dict[str, Any]:
        """Return what the other parts need: numbers, and tensors on the CPU without gradients, of any shape."""
        weights = {key: float(term.weight) for key, term in self.terms.items() if isinstance(term, Mean)}
        together = {
            key: replace(term, arguments=tuple(map(_detached, term.arguments)))
            for key, term in self.terms.items()
            if isinstance(term, Together)
        }
        return {"weights": weights, "together": together, "passes": self.passes}


@dataclass(frozen=True)
class Whole:
    """Sums over a whole step that its parts need.

    Attributes:
        weights: divisor of each mean over rows
        passes: those in which the step has anyone
        values: of each loss of all utterances together
        gradients: of these, for each part of this process, by the arguments that they reach
        n_parts: of all processes
    """

    weights: Mapping[Key, float]
    passes: frozenset[str]
    values: Mapping[Key, float] = field(default_factory=dict)
    gradients: Sequence[Mapping[Key, Gradients]] = ()
    n_parts: int = 1


class Objective:
    r"""The weighted losses of a phase.

    Of a joint expert the supervised losses are averaged over the passes in which the step has anyone, and auxiliary
    losses are added to them:

    .. math:: \frac{1}{P} \sum_p \sum_k w_k L_k(p) + \sum_a w_a L_a
    """

    def __init__(self, context: TrainingContext, phase: PhaseSettings) -> None:
        """Take the phase's weights, and class weights from the training examples of each label.

        Args:
            context: the training
            phase: the phase
        """
        options = context.settings.losses_of(phase)
        self.weights = {name: weight for name, weight in options.weights().items() if name not in AUXILIARY}
        self.auxiliary = {name: getattr(options, name) for name in AUXILIARY if getattr(options, name) > 0}
        counts = context.counts if context.soft_counts is None else context.soft_counts.sum(axis=0)
        by_class = optimisation.class_weights(counts, options)
        self.options: dict[str, Any] = {
            "class_weights": None if by_class is None else torch.from_numpy(by_class),
            "focal_gamma": options.focal_gamma,
            "label_smoothing": options.label_smoothing,
            "similarity": options.pairs.model_dump(),
        }
        self.utterances = context.utterances
        self.combinations = context.settings.passes_of(phase)
        together = any(options.weights()[name] > 0 for name in OF_SEVERAL)
        self.known_beforehand = not (together or self.auxiliary or context.settings.modality_dropout)

    @property
    def auxiliary_inputs(self) -> list[str]:
        """Names of the results of a joint network that the auxiliary losses read."""
        return [AUXILIARY_INPUTS.get(name, name) for name in self.auxiliary]

    def supervised(self, outputs: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """Return the supervised loss of some utterances.

        Args:
            outputs: the network's, first axis of shape ``(batch,)``
            truth: targets by name, first axis of shape ``(batch,)``

        Returns:
            a scalar
        """
        return losses.combined(outputs, truth, self.weights, **self.options)[0]

    def part(self, outputs: Mapping[str, Any], truth: Mapping[str, Tensor]) -> Part:
        """Return the losses of a part of a step.

        Args:
            outputs: an audio or text network's outputs, or the results of a joint network's passes
            truth: the targets of the part's utterances, on the device, first axis of shape ``(batch,)``
        """
        if not self.combinations:
            return Part(self._supervised("", outputs, truth), frozenset([""]))
        passes = {name: result for name, result in outputs.items() if isinstance(result, Pass)}
        terms: dict[Key, Mean | Together] = {}
        for name, result in passes.items():
            terms |= self._supervised(name, result.outputs, {key: values[result.rows] for key, values in truth.items()})
        auxiliary = losses.terms(outputs, {}, self.auxiliary)
        return Part(terms | {("", *key): term for key, term in auxiliary.items()}, frozenset(passes))

    def from_targets(self, rows: np.ndarray, truth: Mapping[str, Tensor]) -> Whole:
        """Return the sums over a step, before its forward passes, where ``known_beforehand``.

        Args:
            rows: of the manifest, of the whole step in all processes, shape ``(n_rows,)``
            truth: their targets by name, first axis of shape ``(n_rows,)``
        """
        passes = {"": slice(None)}
        if self.combinations:
            present = torch.from_numpy(self.utterances.present[rows])
            passes = taking(present, self.utterances.modalities, self.combinations)
        names = [name for name, weight in self.weights.items() if weight > 0]
        by_class = dict.fromkeys(("cross_entropy", "focal"), self.options["class_weights"])
        weights = {
            (combination, name, ""): float(
                losses.label_weight(truth["emotion" if name in by_class else name][selection], by_class.get(name))
            )
            for combination, selection in passes.items()
            for name in names
        }
        return Whole(weights, frozenset(passes))

    def from_parts(self, parts: Sequence[Mapping[str, Any]], first: int, count: int) -> Whole:
        """Return the sums over a step from all its parts, each forwarded once.

        Args:
            parts: the summaries of the parts of all processes
            first: index of this process's first part among them
            count: number of this process's parts
        """
        weights: dict[Key, float] = {}
        for part in parts:
            for key, weight in part["weights"].items():
                weights[key] = weights.get(key, 0.0) + weight
        values: dict[Key, float] = {}
        gradients: list[dict[Key, Gradients]] = [{} for _ in parts]
        for key in dict.fromkeys(key for part in parts for key in part["together"]):
            own = [i for i, part in enumerate(parts) if key in part["together"]]
            values[key], slopes = _of_all([parts[i]["together"][key] for i in own])
            for i, slope in zip(own, slopes, strict=True):
                gradients[i][key] = slope
        passes = frozenset(name for part in parts for name in part["passes"])
        return Whole(weights, passes, values, gradients[first : first + count], len(parts))

    def loss(self, part: Part, whole: Whole | None = None, number: int = 0) -> tuple[Tensor, float]:
        """Return the scalar to differentiate, and the loss; both add up over the parts to those of the step.

        Args:
            part: one of the step's
            whole: sums over the step; None where the part is the whole step
            number: of the part among those of its process
        """
        if whole is None:
            loss = self._joined({key: term.value() for key, term in part.terms.items()}, part.passes)
            return loss, float(loss.detach())
        carrying: dict[Key, Tensor] = {}
        counted = {key: torch.tensor(value / whole.n_parts) for key, value in whole.values.items()}
        for key, term in part.terms.items():
            if isinstance(term, Mean):
                carrying[key] = term.over(torch.tensor(whole.weights[key], dtype=torch.float32))
                counted[key] = carrying[key].detach().cpu()
            else:
                reached = zip(term.arguments[: term.reached], whole.gradients[number][key], strict=True)
                carrying[key] = torch.stack(
                    [(argument.float() * slope.to(argument.device)).sum() for argument, slope in reached]
                ).sum()
        return self._joined(carrying, whole.passes), float(self._joined(counted, whole.passes))

    def _supervised(
        self, combination: str, outputs: Mapping[str, Tensor], truth: Mapping[str, Tensor]
    ) -> dict[Key, Mean | Together]:
        names = [name for name, weight in self.weights.items() if weight > 0]
        return {(combination, *key): term for key, term in losses.terms(outputs, truth, names, **self.options).items()}

    def _joined(self, values: Mapping[Key, Tensor], passes: frozenset[str]) -> Tensor:
        by_pass: dict[str, list[Tensor]] = {}
        auxiliary = []
        for (combination, name, _), value in values.items():
            if name in self.auxiliary:
                auxiliary.append(self.auxiliary[name] * value)
            else:
                by_pass.setdefault(combination, []).append(self.weights[name] * value)
        loss = torch.stack([torch.stack(terms).sum() for terms in by_pass.values()]).sum() / len(passes)
        return loss + torch.stack(auxiliary).sum() if auxiliary else loss


def _detached(argument: Any) -> Any:
    return argument.detach().cpu() if isinstance(argument, Tensor) else argument


def _of_all(parts: Sequence[Together]) -> tuple[float, list[Gradients]]:
    """Return a loss of all utterances together, and its gradient for each of the parts."""
    joined = [
        torch.cat(arguments) if isinstance(arguments[0], Tensor) else arguments[0]
        for arguments in zip(*(part.arguments for part in parts))
    ]
    leaves = [argument.float().requires_grad_() for argument in joined[: parts[0].reached]]
    with torch.enable_grad():
        value = replace(parts[0], arguments=(*leaves, *joined[len(leaves) :])).value()
        slopes = torch.autograd.grad(value, leaves)
    sizes = [len(part.arguments[0]) for part in parts]
    return float(value.detach()), list(zip(*(slope.split(sizes) for slope in slopes), strict=True))
