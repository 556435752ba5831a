"""The optimiser steps of one phase.

Each batch seeds the random generators from (seed, phase, epoch, batch, piece, process), so that a run resumed from a
checkpoint has the dropout of an uninterrupted one. ``batch_size`` is over all processes: each takes its share of every
batch, so that more GPUs do not change what is trained but for batch statistics and batch-wise CCC.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from pipeline_lib import losses
from pipeline_lib.encoders.device import autocast
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import batches, optimisation
from pipeline_lib.finetuning.batches import Batch
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.evaluation import Tally
from pipeline_lib.finetuning.job import Job
from pipeline_lib.finetuning.logs import say
from pipeline_lib.finetuning.phase_settings import PhaseSettings

Scored = tuple[np.ndarray, dict[str, np.ndarray], float]  # rows, outputs, mean loss


class Steps:
    """Model, optimiser and schedule of a phase."""

    def __init__(self, job: Job, name: str, phase: PhaseSettings) -> None:
        """Make the optimiser, and on several processes the wrapper that shares gradients."""
        self.job, self.name, self.phase = job, name, phase
        self.optimiser = optimisation.optimiser_of(job.network, phase)
        self.model = job.accelerator.prepare_model(job.network)
        self.trained = [each for each in job.network.parameters() if each.requires_grad]
        self.where = f"finetuning.{job.name}.phases.{name}"
        asked = job.settings.losses_of(phase)
        names = ("cross_entropy", "focal", "concordance", "gender")
        self.weights = {name: getattr(asked, name) for name in names}
        counts = job.counts if job.soft_counts is None else job.soft_counts.sum(axis=0)
        by_class = optimisation.class_weights(counts, asked)
        self.class_weights = None if by_class is None else torch.from_numpy(by_class)
        self.focal_gamma = asked.focal_gamma

    @property
    def planned(self) -> int:
        """Steps of the whole phase."""
        return planned(self.job, self.phase)

    def loss(self, outputs: dict[str, Tensor], truth: dict[str, Tensor]) -> Tensor:
        """Return the phase's loss of a batch."""
        options = {"class_weights": self.class_weights, "focal_gamma": self.focal_gamma}
        return losses.combined(outputs, truth, self.weights, **options)[0]

    def run_epoch(self, state: State, after_step: Callable[[], None]) -> None:
        """Run what is left of the epoch; when memory runs out, once, go on with batches cut in two.

        Args:
            state: where training stands; brought forward by every step
            after_step: called when a step is done
        """
        job, rows = self.job, self.job.train
        seeds = (job.settings.seed, state.phase, state.epoch)
        speed = job.settings.augmentation.speed
        plan = batches.epoch(rows, job.classes[rows], job.lengths[rows], self.phase, seeds, speed)
        while True:
            try:
                return self._run_batches(plan, state, after_step)
            except torch.OutOfMemoryError:
                self.optimiser.zero_grad(set_to_none=True)
                if state.splits == 2 or job.accelerator.num_processes > 1 or self.phase.batch_size < 4:
                    raise InputError(self._memory_message(state)) from None
            state.splits = 2
            torch.cuda.empty_cache()
            size = self.phase.batch_size
            say(f"{job.name}: out of memory with batch_size {size}; going on with half of it and twice as many batches")

    def _run_batches(self, plan: list[Batch], state: State, after_step: Callable[[], None]) -> None:
        job = self.job
        tally = Tally.from_json(state.tally, job.targets) if state.tally else Tally.empty(job.targets)
        todo = [piece for batch in plan[state.batch :] for piece in batch.pieces(state.splits)]
        shares = [piece.of_process(job.accelerator.process_index, job.accelerator.num_processes) for piece in todo]
        loader = batches.Loader(shares, job.read, job.network.encoder.prepare, job.arrays, job.augment)
        loaded = zip(todo, batches.load(loader, job.settings.workers, job.accelerator.device))
        limit = job.settings.max_steps
        while state.batch < len(plan) and (limit is None or state.step < limit):
            window = plan[state.batch : state.batch + self.phase.accumulation]
            for rows, outputs, loss in self._step(state, window, loaded):
                tally.add(job.targets, rows, outputs, loss)
            state.batch, state.step, state.total = state.batch + len(window), state.step + 1, state.total + 1
            state.tally = tally.to_json()
            after_step()

    def _step(self, state: State, window: list[Batch], loaded: Iterator) -> list[Scored]:
        """Take one step over the window's batches and return what each of its pieces scored."""
        job = self.job
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        rate = optimisation.set_rate(self.optimiser, optimisation.share_of_peak(state.step, self.planned, self.phase))
        size = sum(map(len, window))
        pieces = [(i, part) for i, batch in enumerate(window) for part in range(len(batch.pieces(state.splits)))]
        scored: list[Scored] = []
        for i, part in pieces:
            piece, (inputs, truth) = next(loaded)
            process = job.accelerator.process_index
            seed_all(job.settings.seed, state.phase, state.epoch, state.batch + i, part, process)
            last = len(scored) + 1 == len(pieces)
            with nullcontext() if last else job.accelerator.no_sync(self.model):
                outputs, loss = self._forward(inputs, truth)
                value = float(loss.detach())
                if not np.isfinite(value):
                    raise InputError(self._diverged_message(state, value, rate))
                job.accelerator.backward(loss * (len(piece) / size))
            scored.append(self._gathered(piece, outputs, value))
        if state.step == 0:
            self._refuse_idle_lora()
        if self.phase.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(self.trained, self.phase.max_gradient_norm)
        self.optimiser.step()
        job.logs.step(state.total, {"loss": sum(value * len(rows) for rows, _, value in scored) / size, "rate": rate})
        return scored

    def _forward(self, inputs: dict[str, Tensor], truth: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        device = self.job.accelerator.device
        with autocast(device, wanted=self.job.half):
            outputs = self.model(batches.to(inputs, device))
        return outputs, self.loss(outputs, batches.to(truth, device))

    def _gathered(self, piece: Batch, outputs: dict[str, Tensor], value: float) -> Scored:
        """Return what a piece scored in all processes."""
        mine = {name: each.detach().float().cpu().numpy() for name, each in outputs.items() if name != "embedding"}
        count = self.job.accelerator.num_processes
        if count == 1:
            return piece.rows, mine, value
        parts = gather_object([(mine, value)])
        rows = np.concatenate([piece.of_process(i, count).rows for i in range(count)])
        together = {name: np.concatenate([each[name] for each, _ in parts]) for name in mine}
        return rows, together, float(np.mean([loss for _, loss in parts]))

    def _refuse_idle_lora(self) -> None:
        for name, each in self.job.network.named_parameters():
            if "lora_" in name and each.requires_grad and each.grad is None:
                layer = name.removeprefix("encoder.model.base_model.model.").split(".lora_")[0]
                raise InputError(
                    f"LoRA on {layer} gets no gradient, the encoder never calls that layer; choose other"
                    " lora.target_modules"
                )

    def _memory_message(self, state: State) -> str:
        cut = ", cut in two" if state.splits == 2 else ""
        return (
            f"out of memory with {self.where}.batch_size {self.phase.batch_size}{cut}; lower it and raise accumulation,"
            f" shorten chunk_s, or set finetuning.{self.job.name}.gradient_checkpointing to true"
        )

    def _diverged_message(self, state: State, value: float, rate: float) -> str:
        return (
            f"the loss is {value} at step {state.step + 1} of {self.where} (learning rate {rate:.2e}); most likely its"
            f" learning_rate {self.phase.learning_rate:g} is too high, or bfloat16 overflows: try a tenth of it,"
            " or precision float32"
        )


def planned(job: Job, phase: PhaseSettings) -> int:
    """Return the steps of a phase that runs to its end."""
    drawn = len(job.train) if phase.sampler == "natural" else int((job.classes[job.train] >= 0).sum())
    steps = phase.epochs * batches.steps_in_epoch(drawn, phase)
    return steps if job.settings.max_steps is None else min(steps, job.settings.max_steps)


def seed_all(*parts: int) -> None:
    """Seed torch, NumPy and Python from the parts."""
    seed = int(np.random.SeedSequence(parts).generate_state(1)[0])
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
