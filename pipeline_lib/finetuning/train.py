"""The training loop: phases of epochs, early stopping, checkpoints; a killed run goes on to the same weights."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from pipeline_lib.command import progress
from pipeline_lib.encoders.device import autocast_dtype
from pipeline_lib.experts import availability
from pipeline_lib.experts.build import ENCODER, precision, trained_names, trained_state
from pipeline_lib.experts.outputs import in_batches, outputs_of
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.evaluation import Tally, is_better
from pipeline_lib.finetuning.logs import print_line
from pipeline_lib.finetuning.processes import check_same_start
from pipeline_lib.finetuning.steps import Steps, planned
from pipeline_lib.networks.network import BOTH
from pipeline_lib.params.training import PhaseSettings
from pipeline_lib.shards.store import by_length


class Training:
    """One expert's training; ``run`` leaves the network with the weights of the last phase's best epoch."""

    def __init__(self, context: TrainingContext) -> None:
        """Begin at the beginning; ``run`` looks for a checkpoint."""
        self.context = context
        self.trained = trained_names(context.network)
        self.state = State()
        self.saved = time.monotonic()
        self.advance: Callable[[int], None] = lambda steps: None

    def run(self) -> list[dict]:
        """Train, from the latest checkpoint where there is one, and return the training curve's rows."""
        checkpoint = checkpoints.latest(self.context.folder)
        flat: dict[str, Tensor] | None = None
        if checkpoint is not None:
            self.state, weights, flat = checkpoint
            self._put(weights)
            if self.context.accelerator.is_main_process:
                print_line(f"{self.context.title}: going on after step {self.state.total}")
        check_same_start(self.context.accelerator, self.state, self.context.folder)
        phases = list(self.context.settings.phases.items())
        with self._bar(sum(planned(self.context, phase) for _, phase in phases)) as self.advance:
            for number in range(self.state.phase, len(phases)):
                if number > self.state.phase:
                    before = self.state
                    self.state = State(number, total=before.total, splits=before.splits, history=before.history)
                    self.state.devices, self.state.precisions = before.devices, before.precisions
                self._run_phase(*phases[number], flat)
                flat = None
        return self.state.history

    def _run_phase(self, name: str, phase: PhaseSettings, flat: dict[str, Tensor] | None) -> None:
        with freeze_untrained(self.context.network, phase):
            steps = Steps(self.context, name, phase)
            if flat is not None:
                steps.restore(flat)
            while not self._is_over(phase):
                self._note_origin()
                steps.run_epoch(self.state, lambda: self._after_step(steps))
                self._finish_epoch(steps)
        self.context.accelerator.wait_for_everyone()  # the main process may still be writing them
        self._put(checkpoints.read_best(self.context.folder, self.state))

    def _note_origin(self) -> None:
        """Add this process's device and precision to those that earlier runs of the same training had."""
        state, device = self.state, self.context.accelerator.device
        products = autocast_dtype(device, enabled=self.context.half)
        state.devices = sorted({*state.devices, device.type})
        state.precisions = sorted({*state.precisions, precision(self.context.network, products)})

    def _is_over(self, phase: PhaseSettings) -> bool:
        patience, limit = self.context.settings.early_stopping.patience, self.context.settings.max_steps
        stopped = patience is not None and self.state.waited >= patience
        return self.state.epoch >= phase.epochs or stopped or (limit is not None and self.state.step >= limit)

    def _after_step(self, steps: Steps) -> None:
        """Show the step and write a checkpoint where one is due."""
        self.advance(1)
        every, seconds = self.context.machine.save_steps, self.context.machine.save_seconds
        due = every is not None and self.state.step % every == 0
        if due or (seconds is not None and time.monotonic() - self.saved > seconds):
            self._save(steps)

    def _finish_epoch(self, steps: Steps) -> None:
        """Measure on the development split, write the best weights and a checkpoint."""
        state, context = self.state, self.context
        train = Tally.from_json(state.tally or {}, context.targets).scores()
        state.epoch, state.batch, state.tally = state.epoch + 1, 0, None
        over = state.epoch >= steps.phase.epochs or state.step >= steps.planned
        measured = over or state.epoch % context.settings.early_stopping.every == 0
        scores = {"train": train, **({"dev": self._measured(steps)} if measured else {})}
        before = max((row["epoch"] for row in state.history if row["phase"] < state.phase), default=0)
        for split, values in scores.items():
            state.history.append({"epoch": before + state.epoch, "phase": state.phase, "split": split, **values})
            context.logs.epoch(before + state.epoch, split, values)
        self._save(steps)
        if context.accelerator.is_main_process:
            figures = [
                f"{split} {key} {value:.3f}" for split, values in scores.items() for key, value in values.items()
            ]
            star = "  * best" if state.best_epoch == state.epoch else ""
            print_line(f"{context.title} {steps.name} epoch {state.epoch}: {'  '.join(figures)}{star}")
        if self._is_over(steps.phase):
            self.advance(steps.planned - state.step)  # what early stopping leaves out

    def _measured(self, steps: Steps) -> dict[str, float]:
        """Return the development scores of the weights that an expert would have, and write them where they are best.

        With a moving average these are the averaged ones; training goes on with the others.
        """
        average, metric = steps.average, self.context.settings.early_stopping.metric
        with nullcontext() if average is None else average.in_place(self.context.network):
            scores = self._development_scores(steps)
            self._save_if_best(scores[metric])
        return scores

    def _save_if_best(self, score: float) -> None:
        state, context = self.state, self.context
        if not is_better(score, state.best, context.settings):
            state.waited += 1
            return
        state.best, state.best_epoch, state.waited = score, state.epoch, 0
        if context.accelerator.is_main_process:
            checkpoints.write_best(context.folder, state, self._weights())

    def _development_scores(self, steps: Steps) -> dict[str, float]:
        """Return the scores of the development rows, over all measured combinations together."""
        context, tally = self.context, Tally.empty(self.context.targets)
        passes = context.settings.passes_of(steps.phase)
        if not passes:
            self._score(steps, tally, context.dev, context.utterances)
            return tally.scores()
        for combination in availability.measured_combinations(context.settings.early_stopping.shown, passes):
            rows = context.development_rows(combination)
            if len(rows):
                self._score(steps, tally, rows, context.utterances.showing(combination))
        return tally.scores()

    def _score(self, steps: Steps, tally: Tally, rows: np.ndarray, utterances: Utterances) -> None:
        outputs = self._development_outputs(rows, utterances)
        truth = {name: torch.from_numpy(values[rows]) for name, values in self.context.arrays.items()}
        tensors = {name: torch.from_numpy(values) for name, values in outputs.items()}
        tally.add(self.context.targets, rows, outputs, float(steps.objective.supervised(tensors, truth)))

    def _development_outputs(self, rows: np.ndarray, utterances: Utterances) -> dict[str, np.ndarray]:
        """Return the network's outputs for the rows, by all processes together, the same in each."""
        context, predicting = self.context, self.context.settings.predict
        process, count = context.accelerator.process_index, context.accelerator.num_processes
        (order,) = by_length(utterances.lengths[rows], len(rows), predicting.batch_size)
        plan = in_batches(order, predicting.batch_size)
        mine = [rows[indices] for indices in plan[process::count]]
        given = (mine, utterances, predicting.max_s)
        outputs = outputs_of(context.network, *given, workers=context.machine.workers)
        parts = list(zip(range(process, len(plan), count), outputs))
        together = dict(gather_object(parts) if count > 1 else parts)
        back = np.argsort(order, kind="stable")
        return {name: np.concatenate([together[i][name] for i in range(len(plan))])[back] for name in together[0]}

    def _weights(self) -> dict[str, Tensor]:
        adapter, head = trained_state(self.context.network, self.trained)
        return {**{f"encoder.{name}": tensor for name, tensor in adapter.items()}, **head}

    def _put(self, weights: dict[str, Tensor]) -> None:
        self.context.network.load_state_dict(weights, strict=False)

    def _save(self, steps: Steps) -> None:
        if self.context.accelerator.is_main_process:
            checkpoints.write(self.context.folder, self.state, self._weights(), steps.tensors())
        self.saved = time.monotonic()

    def _bar(self, steps: int) -> AbstractContextManager[Callable[[int], None]]:
        if not self.context.accelerator.is_main_process:
            return nullcontext(lambda n: None)
        return progress(steps, f"training {self.context.title}", self.state.total)


@contextmanager
def freeze_untrained(network: nn.Module, phase: PhaseSettings) -> Iterator[None]:
    """Freeze what the phase does not train: the encoder, or all but one head; afterwards they are as before.

    Args:
        network: changed in place
        phase: names the part that is trained
    """
    is_trained = {
        "all": lambda name: True,
        "head": lambda name: not name.startswith(ENCODER),
        "both_head": lambda name: name.startswith(f"heads.{BOTH}."),
    }[phase.train]
    frozen = [
        parameter for name, parameter in network.named_parameters() if parameter.requires_grad and not is_trained(name)
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
