"""Frozen branches' frames, cached in memory before the first epoch, so that the encoder runs once and not every epoch.

All layers that the branch joins are cached, in float16, which ``JointEncoder`` rounds to with and without a cache. A
branch is cached where its encoder is never trained, where the same audio is seen every epoch, and where the estimate
fits into what is left of the limit; the smaller branch first. Its frames are computed, or read from an embedding that
it names (``frame_store``). What was done, and why, is printed on the console.

Utterances pass through the encoder by length, in batches that do not depend on the order of training: a run that is
resumed keeps the same numbers. Other neighbours in a batch, as on the fly, can move a number by its last digit. Of
several processes each one caches all frames for itself.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.command import progress
from pipeline_lib.encoders.branches import MODALITIES, to_half
from pipeline_lib.experts.outputs import in_batches
from pipeline_lib.experts.utterances import Pairs
from pipeline_lib.finetuning import frame_store, sampling
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import print_line
from pipeline_lib.finetuning.sampling import Batch
from pipeline_lib.params.branches import BranchSettings, Combination
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.shards.store import by_length

BYTES = 2  # of a float16


def cached_reader(context: TrainingContext, ids: np.ndarray) -> Pairs:
    """Return a joint expert's reader with the frames of all branches that may be cached and fit.

    Args:
        context: the training
        ids: of all utterances of the manifest, shape ``(n,)``

    Raises:
        InputError: an embedding that a branch names is not of its encoder, or lacks what is trained on
    """
    left, pairs = context.machine.cache_embeddings_gb, cast(Pairs, context.read)
    cached: dict[str, dict[int, Tensor]] = {}
    if not context.settings.cache_embeddings:
        if context.accelerator.is_main_process:
            print_line(f"{context.name}: frames are computed anew each time: cache_embeddings is false")
        return pairs
    used = np.union1d(context.train, context.dev)
    rows = {modality: used[context.present[used, i]] for i, modality in enumerate(MODALITIES)}
    stored_layers = _stored_layers(context, rows, ids)
    sizes = {modality: _size_gb(context, modality, rows[modality]) for modality in MODALITIES}
    for modality in sorted(MODALITIES, key=sizes.__getitem__):
        why = _refusal(context, modality, sizes[modality], left)
        if context.accelerator.is_main_process:
            origin = (
                f", read from {branch_of(context.settings, modality).embedding}" if modality in stored_layers else ""
            )
            done = f"computed anew each time: {why}" if why else f"cached in memory, {sizes[modality]:.3g} GB{origin}"
            print_line(f"{context.name}: frames of {modality} are {done}")
        if why is None and len(rows[modality]):
            left -= sizes[modality]
            cached[modality] = _frames(context, modality, rows[modality], ids, stored_layers.get(modality))
    return replace(pairs, cache=cached)


def branch_of(settings: FinetuningSettings, modality: str) -> BranchSettings:
    """Return the settings of a modality's branch.

    Args:
        settings: of a joint expert
        modality: audio or text
    """
    return settings.branches[modality]


def _refusal(context: TrainingContext, modality: str, size_gb: float, left_gb: float) -> str | None:
    """Return why a branch's frames cannot be cached, or None."""
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
        texts = cast(Pairs, context.read).texts
        frames = float(sum(int(branch.lengths(branch.prepare([texts[row]])).sum()) for row in rows))
    n_layers = branch.n_layers + 1 if branch_of(context.settings, modality).layers == "weighted" else 1
    return frames * n_layers * branch.width * BYTES / 1e9


def _stored_layers(context: TrainingContext, rows: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, list[int]]:
    """Return the layers that are read of each branch that names an embedding; it is held to the branch here."""
    layers = {}
    for modality in MODALITIES:
        branch = branch_of(context.settings, modality)
        if branch.embedding is not None:
            folder, encoder = Path(branch.embedding), context.network.encoder.branches[modality]
            layers[modality] = frame_store.layers_of(folder, encoder, every=branch.layers == "weighted")
            if modality == "audio":
                measured = np.intersect1d(context.dev, rows[modality])
                frame_store.refuse_cut(folder, measured, context.lengths, ids, context.settings.predict.max_s)
    return layers


def _frames(
    context: TrainingContext, modality: str, rows: np.ndarray, ids: np.ndarray, layers: list[int] | None
) -> dict[int, Tensor]:
    """Return each row's frames under a bar: these layers of the branch's embedding, or computed where None are."""
    show_progress, total = context.accelerator.is_main_process, len(rows) * len(layers or [0])
    with (
        progress(total, f"{context.name}: frames of {modality}")
        if show_progress
        else nullcontext(lambda n: None) as advance
    ):
        if layers is None:
            return dict(_states(context, modality, rows, advance))
        return frame_store.read(Path(str(branch_of(context.settings, modality).embedding)), layers, rows, ids, advance)


@torch.no_grad()
def _states(
    context: TrainingContext, modality: str, rows: np.ndarray, advance: Callable[[int], None]
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row with its states, float16, on the CPU, shape ``(layers, time, width)``.

    What is trained on is read whole; of what is too long to develop on the middle is taken, as it is without a cache.
    """
    encoder, device = context.network.encoder.eval(), context.accelerator.device
    every = branch_of(context.settings, modality).layers == "weighted"
    (order,) = by_length(context.lengths[rows], len(rows), context.settings.predict.batch_size)
    plan = [rows[indices] for indices in in_batches(order, context.settings)]
    cut = np.isin(np.arange(len(context.lengths)), context.dev)
    starts, durations = sampling.whole(context.lengths, context.settings)
    starts, durations = np.where(cut, starts, 0.0), np.where(cut, durations, np.nan)
    loader = sampling.Loader(
        [Batch(batch, starts[batch], durations[batch]) for batch in plan],
        cast(Pairs, context.read).with_modalities(cast(Combination, modality)),
        encoder.prepare,
        {},
    )
    for batch, (inputs, _) in zip(plan, sampling.load(loader, context.machine.workers, device)):
        given = sampling.to(inputs, device)[modality]
        hidden = encoder.states(modality, {key: value for key, value in given.items() if key != "rows"})
        layers = torch.stack([to_half(layer).cpu() for layer in (hidden.layers if every else hidden.layers[-1:])])
        for i, (row, length) in enumerate(zip(batch.tolist(), hidden.lengths.tolist())):
            yield row, layers[:, i, :length].clone()
        advance(len(batch))
