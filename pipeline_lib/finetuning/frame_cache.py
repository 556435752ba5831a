"""Frozen branches' frames, kept in memory from before the first epoch on, so that the encoder runs once and not always.

All layers that the branch joins are kept, in float16, which ``JointEncoder`` rounds to whether they are kept or not. A
branch is kept where its encoder is never trained, where the same audio is seen every epoch, and where the estimate fits
into what is left of the limit; the smaller branch first. Its frames are computed, or read from an embedding that it
names (``stored_frames``). What was done, and why, is said on the console.

Utterances pass through the encoder by length, in batches that do not depend on the order of training: a run that is
resumed keeps the same numbers. Other neighbours in a batch, as on the fly, can move a number by its last digit. Of
several processes each keeps all frames for itself.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.command import progress
from pipeline_lib.encoders.branches import MODALITIES, to_half
from pipeline_lib.finetuning import batches, frame_store
from pipeline_lib.finetuning.batches import Batch
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import say
from pipeline_lib.finetuning.outputs import in_batches
from pipeline_lib.finetuning.reading import Pairs
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.shards.store import by_length

BYTES = 2  # of a float16


def keep(context: TrainingContext, ids: np.ndarray) -> Pairs:
    """Return a joint expert's reader with the frames of all branches that may be kept and fit.

    Args:
        job: the training
        ids: of all utterances of the manifest

    Raises:
        InputError: an embedding that a branch names is not of its encoder, or lacks what is trained on
    """
    left: float = context.machine.cache_embeddings_gb
    kept: dict[str, dict[int, Tensor]] = {}
    if not context.settings.cache_embeddings:
        if context.accelerator.is_main_process:
            say(f"{context.name}: frames of audio and text are computed anew each time: cache_embeddings is false")
        return context.read
    used = np.union1d(context.train, context.dev)
    rows = {each: used[context.present[used, i]] for i, each in enumerate(MODALITIES)}
    stored = _stored_layers(context, rows, ids)
    sizes = {each: _size_gb(context, each, rows[each]) for each in MODALITIES}
    for each in sorted(MODALITIES, key=sizes.__getitem__):
        why = _refusal(context, each, sizes[each], left)
        if context.accelerator.is_main_process:
            origin = f", read from {branch_of(context.settings, each).embedding}" if each in stored else ""
            done = f"computed anew each time: {why}" if why else f"kept in memory, {sizes[each]:.3g} GB{origin}"
            say(f"{context.name}: frames of {each} are {done}")
        if why is None and len(rows[each]):
            left -= sizes[each]
            kept[each] = _frames(context, each, rows[each], ids, stored.get(each))
    return replace(context.read, kept=kept)


def branch_of(settings: FinetuningSettings, modality: str) -> BranchSettings:
    """Return the settings of a modality's branch."""
    return getattr(settings.branches, modality)


def _refusal(context: TrainingContext, modality: str, size_gb: float, left_gb: float) -> str | None:
    """Return why a branch's frames cannot be kept, or None."""
    settings = context.settings
    method = branch_of(settings, modality).adaptation.method
    if method != "frozen":
        return f"branches.{modality}.adaptation.method is {method!r}, its encoder changes"
    chunked = [name for name, phase in settings.phases.items() if phase.chunk_s is not None]
    if modality == "audio" and chunked:
        return f"phases.{chunked[0]}.chunk_s draws other chunks each epoch"
    if modality == "audio" and settings.augmentation.is_on:
        return "augmentation changes the audio each epoch"
    if size_gb > left_gb:
        limit = f"of cache_embeddings_gb {context.machine.cache_embeddings_gb:g} there is {max(0.0, left_gb):.3g} left"
        return f"they would take {size_gb:.3g} GB, {limit}"
    return None


def _size_gb(context: TrainingContext, modality: str, rows: np.ndarray) -> float:
    """Return an estimate of what the frames of these rows take, from above."""
    branch = context.network.encoder.branches[modality]
    if modality == "audio":
        frames = float(np.ceil(context.lengths[rows] * branch.frame_rate_hz).sum()) + len(rows)
    else:
        frames = sum(int(branch.lengths(branch.prepare([context.read.texts[row]])).sum()) for row in rows)
    n_layers = branch.n_layers + 1 if branch_of(context.settings, modality).layers == "weighted" else 1
    return frames * n_layers * branch.width * BYTES / 1e9


def _stored_layers(context: TrainingContext, rows: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, list[int]]:
    """Return the layers that are read of each branch that names an embedding; it is held to the branch here."""
    found = {}
    for each in MODALITIES:
        branch = branch_of(context.settings, each)
        if branch.embedding is not None:
            folder, encoder = Path(branch.embedding), context.network.encoder.branches[each]
            found[each] = frame_store.layers_of(folder, encoder, every=branch.layers == "weighted")
            if each == "audio":
                measured = np.intersect1d(context.dev, rows[each])
                frame_store.refuse_cut(folder, measured, context.lengths, ids, context.settings.predict.max_s)
    return found


def _frames(
    context: TrainingContext, modality: str, rows: np.ndarray, ids: np.ndarray, stored: list[int] | None
) -> dict[int, Tensor]:
    """Return each row's frames under a bar: these layers of the branch's embedding, or computed where None are."""
    shown, total = context.accelerator.is_main_process, len(rows) * len(stored or [0])
    with progress(total, f"{context.name}: frames of {modality}") if shown else nullcontext(lambda n: None) as advance:
        if stored is None:
            return dict(_states(context, modality, rows, advance))
        return frame_store.read(Path(branch_of(context.settings, modality).embedding), stored, rows, ids, advance)


@torch.no_grad()
def _states(
    context: TrainingContext, modality: str, rows: np.ndarray, advance: Callable[[int], None]
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row with its states, float16, on the CPU, shape ``(layers, time, width)``.

    What is trained on is read whole; of what is too long to develop on the middle is taken, as it is without keeping.
    """
    encoder, device = context.network.encoder.eval(), context.accelerator.device
    every = branch_of(context.settings, modality).layers == "weighted"
    (order,) = by_length(context.lengths[rows], len(rows), context.settings.predict.batch_size)
    plan = [rows[places] for places in in_batches(order, context.settings)]
    cut = np.isin(np.arange(len(context.lengths)), context.dev)
    starts, durations = batches.whole(context.lengths, context.settings)
    starts, durations = np.where(cut, starts, 0.0), np.where(cut, durations, np.nan)
    loader = batches.Loader(
        [Batch(each, starts[each], durations[each]) for each in plan],
        context.read.showing(modality),
        encoder.prepare,
        {},
    )
    for each, (inputs, _) in zip(plan, batches.load(loader, context.machine.workers, device)):
        given = batches.to(inputs, device)[modality]
        hidden = encoder.states(modality, {key: value for key, value in given.items() if key != "rows"})
        layers = torch.stack([to_half(layer).cpu() for layer in (hidden.layers if every else hidden.layers[-1:])])
        for i, (row, length) in enumerate(zip(each.tolist(), hidden.lengths.tolist())):
            yield row, layers[:, i, :length].clone()
        advance(len(each))
