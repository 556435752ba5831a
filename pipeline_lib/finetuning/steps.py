"""The optimiser steps of one phase.

Each batch seeds the random generators from (seed, phase, epoch, batch, piece, process), so that a run resumed from a
checkpoint has the dropout of an uninterrupted one. ``batch_size`` is over all processes: each takes its share of every
batch, so that more GPUs do not change what is trained but for batch norm's statistics. So do accumulated batches and
halves: the loss is of all utterances of a step, see ``objective``.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from pipeline_lib.encoders.device import autocast
from pipeline_lib.errors import InputError
from pipeline_lib.experts.loading import Batch, Loader, load, to
from pipeline_lib.finetuning import optimisation, sampling
from pipeline_lib.finetuning.augmentation.mixing import Mixing
from pipeline_lib.finetuning.averaging import WeightAverage
from pipeline_lib.finetuning.batch_targets import BatchTargets
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.evaluation import Tally
from pipeline_lib.finetuning.idle_lora import refuse_idle_lora
from pipeline_lib.finetuning.logs import print_line
from pipeline_lib.finetuning.objective import Objective, Part, Whole
from pipeline_lib.networks.network import Pass
from pipeline_lib.params.training import PhaseSettings
from pipeline_lib.shards.batches import is_out_of_memory, memory_message

AUGMENTED = "audio"  # the modality that augmentation changes
PassOutputs = tuple[np.ndarray | slice, dict[str, Tensor]]  # rows of the batch, outputs
Forwarded = tuple[dict[str, PassOutputs], Part]  # outputs by pass, losses
Outputs = tuple[np.ndarray, dict[str, np.ndarray]]  # rows, outputs
Scored = tuple[np.ndarray, dict[str, np.ndarray], float]  # rows, outputs, loss of their step


@dataclass(frozen=True)
class Piece:
    """Part of a step that goes through the network at once.

    Attributes:
        batch: of all processes
        inputs: of this process's share of the batch, first axis of shape ``(share,)``
        truth: targets of that share
        seeds: of its random numbers
    """

    batch: Batch
    inputs: dict[str, Any]
    truth: dict[str, Tensor]
    seeds: tuple[int, ...]


class Steps:
    """Model, optimiser and schedule of a phase."""

    def __init__(self, context: TrainingContext, name: str, phase: PhaseSettings) -> None:
        """Make the optimiser, and on several processes the wrapper that shares gradients.

        Args:
            context: the training
            name: of the phase
            phase: the phase
        """
        self.context, self.name, self.phase = context, name, phase
        self.optimiser = optimisation.optimiser_of(context.network, phase)
        self.model = context.accelerator.prepare_model(context.network)
        self.trained = [parameter for parameter in context.network.parameters() if parameter.requires_grad]
        self.where = f"finetuning.{context.name}.phases.{name}"
        self.objective = Objective(context, phase)
        mixing = context.settings.augmentation.mixing.probability > 0
        self.mix = Mixing(context.utterances) if mixing else None
        self.targets = BatchTargets(context.targets, context.settings.targets.annotator_dropout, mixing=mixing)
        self.average = None if phase.ema_decay is None else WeightAverage(context.network, phase.ema_decay)
        self.statistics: dict[str, Tensor] = {}  # batch norm's, of before the step

    @property
    def planned(self) -> int:
        """Steps of the whole phase."""
        return planned(self.context, self.phase)

    def run_epoch(self, state: State, after_step: Callable[[], None]) -> None:
        """Run what is left of the epoch; when memory runs out, once, go on with batches cut in two.

        Args:
            state: where training stands; brought forward by every step
            after_step: called when a step is done
        """
        context, rows = self.context, self.context.rows(self.phase)
        seeds = (context.settings.seed, state.phase, state.epoch)
        augmentation, lengths = context.settings.augmentation, context.utterances.lengths[rows]
        how = (self.phase, seeds, augmentation.speed, augmentation.mixing)
        plan = sampling.epoch(rows, context.classes[rows], lengths, *how)
        while True:
            try:
                return self._run_batches(plan, state, after_step)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self.optimiser.zero_grad(set_to_none=True)
                optimisation.restore_statistics(context.network, self.statistics)
                if state.splits == 2 or context.accelerator.num_processes > 1 or self.phase.batch_size < 4:
                    raise InputError(self._memory_message(state)) from None
            state.splits = 2
            torch.cuda.empty_cache()
            size = self.phase.batch_size
            print_line(
                f"{context.title}: out of memory with batch_size {size}; halving it and doubling the number of batches"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds beside the weights, of any shape: of the optimiser and the moving average."""
        average = {} if self.average is None else self.average.tensors()
        return optimisation.flatten(self.optimiser, self.context.network) | average

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what a checkpoint held beside the weights.

        Args:
            tensors: of ``tensors``, of the same shapes
        """
        rest = tensors if self.average is None else self.average.restore(tensors)
        optimisation.restore(self.optimiser, self.context.network, rest)

    def _run_batches(self, plan: list[Batch], state: State, after_step: Callable[[], None]) -> None:
        context = self.context
        tally = Tally.from_json(state.tally, context.targets) if state.tally else Tally.empty(context.targets)
        todo = [piece for batch in plan[state.batch :] for piece in batch.pieces(state.splits)]
        shares = [
            piece.of_process(context.accelerator.process_index, context.accelerator.num_processes) for piece in todo
        ]
        prepare = context.network.encoder.prepare
        augmenting = None if context.augment is None else {AUGMENTED: context.augment}
        loader = Loader(shares, context.utterances, prepare, self.targets, augmenting, self.mix)
        loaded = zip(todo, load(loader, context.machine.workers, context.accelerator.device))
        limit = context.settings.max_steps
        while state.batch < len(plan) and (limit is None or state.step < limit):
            window = plan[state.batch : state.batch + self.phase.gradient_accumulation_steps]
            for rows, outputs, loss in self._step(state, window, loaded):
                tally.add(context.targets, rows, outputs, loss)
            state.batch, state.step, state.total = state.batch + len(window), state.step + 1, state.total + 1
            state.tally = tally.to_json()
            after_step()

    def _step(self, state: State, window: list[Batch], loaded: Iterator) -> list[Scored]:
        """Take one step over the window's batches and return the scored outputs of its pieces."""
        context = self.context
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        rate = optimisation.set_rate(self.optimiser, optimisation.share_of_peak(state.step, self.planned, self.phase))
        self.statistics = optimisation.statistics(context.network)
        pieces: Iterable[Piece] = self._pieces(state, window, loaded)
        whole: Whole | None = None
        forwarded: list[Forwarded] = []
        n_pieces = sum(len(batch.pieces(state.splits)) for batch in window)
        if n_pieces * context.accelerator.num_processes > 1:
            if self.objective.known_beforehand:
                rows = np.concatenate([batch.rows for batch in window])
                whole = self.objective.from_targets(rows, self.targets.of_step(window))
            else:
                pieces = list(pieces)
                whole, forwarded = self._forward_all(pieces)
        scored: list[Outputs] = []
        total = 0.0
        for number, piece in enumerate(pieces):
            with nullcontext() if number == n_pieces - 1 else context.accelerator.no_sync(self.model):
                by_pass, part = forwarded.pop() if forwarded else self._forward(self.model, piece)
                loss, value = self.objective.loss(part, whole, number)
                if not np.isfinite(value):
                    raise InputError(self._diverged_message(state, value, rate))
                (loss * context.accelerator.num_processes).backward()  # the processes' gradients are averaged
            gathered, value = self._gathered(piece.batch, by_pass, value)
            scored, total = scored + gathered, total + value
        if state.step == 0:
            refuse_idle_lora(context)
        if self.phase.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, self.phase.max_grad_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(context.network, state.step)
        context.logs.step(state.total, {"loss": total, "rate": rate})
        return [(rows, outputs, total) for rows, outputs in scored]

    def _pieces(self, state: State, window: list[Batch], loaded: Iterator) -> Iterator[Piece]:
        """Yield the pieces of a step with the seeds of their random numbers."""
        for i, batch in enumerate(window):
            for number in range(len(batch.pieces(state.splits))):
                batch, (inputs, truth) = next(loaded)
                seeds = (state.phase, state.epoch, state.batch + i, number, self.context.accelerator.process_index)
                yield Piece(batch, inputs, truth, (self.context.settings.seed, *seeds))

    def _forward_all(self, pieces: list[Piece]) -> tuple[Whole, list[Forwarded]]:
        """Forward all pieces, for losses that take all of a step's utterances together, and return their whole step.

        Several are forwarded without keeping activations, and again to train: batch norm's statistics are those of
        before. The outputs of a single one are returned too.
        """
        accelerator, alone = self.context.accelerator, len(pieces) == 1
        mine: list[dict[str, Any]] = []
        forwarded: list[Forwarded] = []
        with nullcontext() if alone else torch.no_grad():
            for piece in pieces:
                by_pass, part = self._forward(self.model if alone else self.context.network, piece)
                mine.append(part.summary())
                forwarded += [(by_pass, part)] if alone else []
        if not alone:
            optimisation.restore_statistics(self.context.network, self.statistics)
        parts = mine if accelerator.num_processes == 1 else gather_object(mine)
        return self.objective.from_parts(parts, accelerator.process_index * len(mine), len(mine)), forwarded

    def _forward(self, model: nn.Module, piece: Piece) -> Forwarded:
        """Return the outputs of each pass, of an expert of one modality the only one, and the losses."""
        seed_all(*piece.seeds)
        device = self.context.accelerator.device
        inputs, truth = to(piece.inputs, device), to(piece.truth, device)
        passes = self.context.settings.passes_of(self.phase)
        with autocast(device, enabled=self.context.half):
            outputs = model(inputs, passes, self.objective.auxiliary_inputs) if passes else model(inputs)
        part = self.objective.part(outputs, truth)
        if not passes:
            return {"": (slice(None), outputs)}, part
        taken = {name: result for name, result in outputs.items() if isinstance(result, Pass)}
        return {name: (result.rows.cpu().numpy(), result.outputs) for name, result in taken.items()}, part

    def _gathered(self, piece: Batch, by_pass: dict[str, PassOutputs], value: float) -> tuple[list[Outputs], float]:
        """Return a piece's outputs in all processes, each pass by itself, and its share of the step's loss."""
        count = self.context.accelerator.num_processes
        rows = piece.of_process(self.context.accelerator.process_index, count).rows
        mine = {
            name: (
                rows[selection],
                {key: values.detach().float().cpu().numpy() for key, values in outputs.items() if key != "embedding"},
            )
            for name, (selection, outputs) in by_pass.items()
        }
        parts = [(mine, value)] if count == 1 else gather_object([(mine, value)])
        scored = []
        for name in dict.fromkeys(name for values, _ in parts for name in values):
            shares = [values[name] for values, _ in parts if name in values]
            outputs = {key: np.concatenate([share[key] for _, share in shares]) for key in shares[0][1]}
            scored.append((np.concatenate([taken for taken, _ in shares]), outputs))
        return scored, sum(loss for _, loss in parts)

    def _memory_message(self, state: State) -> str:
        remedy = "lower it, raise gradient_accumulation_steps, shorten chunk_s, or set"
        remedy += f" finetuning.{self.context.name}.gradient_checkpointing to true"
        what = f"{self.where}.batch_size {self.phase.batch_size}"
        return memory_message(what, remedy, halved=state.splits == 2)

    def _diverged_message(self, state: State, value: float, rate: float) -> str:
        return (
            f"the loss is {value} at step {state.step + 1} of {self.where} (learning rate {rate:.2e}); most likely its"
            f" learning_rate {self.phase.learning_rate:g} is too high, or bfloat16 overflows: try a tenth of it,"
            " or precision float32"
        )


def planned(context: TrainingContext, phase: PhaseSettings) -> int:
    """Return the steps of a phase that runs to its end.

    Args:
        context: the training
        phase: the phase
    """
    rows = context.rows(phase)
    drawn = len(rows) if phase.sampler == "natural" else int((context.classes[rows] >= 0).sum())
    steps = phase.epochs * sampling.steps_in_epoch(drawn, phase)
    return steps if context.settings.max_steps is None else min(steps, context.settings.max_steps)


def seed_all(*parts: int) -> None:
    """Seed torch, NumPy and Python from the parts."""
    seed = int(np.random.SeedSequence(parts).generate_state(1)[0])
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
