"""Frames of frozen branches, cached in memory before the first epoch, so that an encoder runs once and not every epoch.

All layers that the branch joins are cached, in float16, which ``BranchEncoder`` rounds to with and without a cache. A
branch is cached where its encoder is never trained, where the same audio is seen every epoch, and where the estimate
fits into what is left of the limit; the smaller branch first. Its frames are computed, or read from an embedding that
it names (``frame_store``). What was done, and why, is printed on the console.

Utterances pass through the encoder by length, in batches that do not depend on the order of training: a run that is
resumed keeps the same numbers. Other neighbours in a batch, as on the fly, can move a number by its last digit. Of
several processes each one caches all frames for itself.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.command import progress
from pipeline_lib.encoders.branches import to_half, without_rows
from pipeline_lib.experts.loading import Batch, Loader, load, to, whole
from pipeline_lib.experts.outputs import in_batches
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.finetuning import frame_store
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import print_line
from pipeline_lib.modalities import MODALITIES
from pipeline_lib.shards.store import by_length

BYTES = 2  # of a float16


def with_frames(context: TrainingContext) -> Utterances:
    """Return the training's utterances with the frames of all branches that may be cached and fit.

    Args:
        context: the training

    Raises:
        InputError: an embedding that a branch names is not of its encoder, or lacks what is trained on
    """
    left, utterances, branches = context.machine.cache_embeddings_gb, context.utterances, context.settings.branches
    cached: dict[str, dict[int, Tensor]] = {}
    if not any(branch.adaptation.method == "frozen" for branch in branches.values()):
        return utterances
    if not context.settings.cache_embeddings:
        _print(context, "frames are computed anew each time: cache_embeddings is false")
        return utterances
    used = np.union1d(context.train, context.dev)
    rows = {name: used[utterances.present[used, i]] for i, name in enumerate(utterances.modalities)}
    stored_layers = _stored_layers(context, rows)
    sizes = {name: _size_gb(context, name, rows[name]) for name in utterances.modalities}
    for name in sorted(sizes, key=sizes.__getitem__):
        why = _refusal(context, name, sizes[name], left)
        origin = f", read from {branches[name].embedding}" if name in stored_layers else ""
        done = f"computed anew each time: {why}" if why else f"cached in memory, {sizes[name]:.3g} GB{origin}"
        _print(context, f"frames of {name} are {done}")
        if why is None and len(rows[name]):
            left -= sizes[name]
            cached[name] = _frames(context, name, rows[name], stored_layers.get(name))
    return utterances.with_frames(cached)


def for_prediction(context: TrainingContext) -> Utterances:
    """Return the utterances with the frames of every row, where embeddings have them all and they fit, else with none.

    The encoders, which are frozen, then do not run to predict either. Longer audio than ``predict.max_s``, of which the
    middle is predicted, is one reason to let them run.

    Args:
        context: the training, whose utterances have the frames of what is trained and developed on
    """
    utterances, branches, cached = context.utterances, context.settings.branches, context.utterances.read.frames
    if context.machine.executor.workers or not all(cached.get(name) for name in utterances.modalities):
        return utterances.with_frames({})
    rows = {name: np.flatnonzero(utterances.present[:, i]) for i, name in enumerate(utterances.modalities)}
    too_long = any(
        MODALITIES[name].unit == "seconds" and (utterances.lengths[each] > context.settings.predict.max_s).any()
        for name, each in rows.items()
    )
    size = sum(_size_gb(context, name, each) for name, each in rows.items())
    if any(branches[name].embedding is None for name in rows) or too_long or size > context.machine.cache_embeddings_gb:
        return utterances.with_frames({})
    absent = {name: np.setdiff1d(each, list(cached[name])) for name, each in rows.items()}
    layers = _stored_layers(context, absent)
    return utterances.with_frames(
        {name: {**cached[name], **_frames(context, name, each, layers[name])} for name, each in absent.items()}
    )


def _print(context: TrainingContext, line: str) -> None:
    if context.accelerator.is_main_process:
        print_line(f"{context.title}: {line}")


def _refusal(context: TrainingContext, modality: str, size_gb: float, left_gb: float) -> str | None:
    """Return why a branch's frames cannot be cached, or None."""
    settings, in_seconds = context.settings, MODALITIES[modality].unit == "seconds"
    method = settings.branches[modality].adaptation.method
    if method != "frozen":
        branch = f"branches.{modality}." if len(settings.branches) > 1 else ""
        return f"{branch}adaptation.method is {method!r}, its encoder changes"
    chunked = [name for name, phase in settings.phases.items() if phase.chunk_s is not None]
    if in_seconds and chunked:
        return f"phases.{chunked[0]}.chunk_s draws other chunks each epoch"
    if in_seconds and context.augment is not None:
        return "augmentation changes the audio each epoch"
    if size_gb > left_gb:
        limit = f"of cache_embeddings_gb {context.machine.cache_embeddings_gb:g} there is {max(0.0, left_gb):.3g} left"
        return f"they would take {size_gb:.3g} GB, {limit}"
    return None


def _size_gb(context: TrainingContext, modality: str, rows: np.ndarray) -> float:
    """Return an estimate of what the frames of these rows take, from above."""
    branch, reader = context.network.encoder.branches[modality], context.utterances.read.readers[modality]
    rate = getattr(branch, "frame_rate_hz", None)
    if rate is not None:
        frames = float(np.ceil(reader.lengths[rows] * rate).sum()) + len(rows)
    else:
        parts = (reader(int(row), 0.0, None) for row in rows)
        frames = float(sum(int(branch.lengths(branch.prepare([part])).sum()) for part in parts))
    every = context.settings.branches[modality].layers == "weighted"
    n_layers = branch.n_layers + 1 if every else 1
    return frames * n_layers * branch.width * BYTES / 1e9


def _stored_layers(context: TrainingContext, rows: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """Return the layers that are read of each branch that names an embedding; it is held to the branch here."""
    layers = {}
    for name, branch in context.settings.branches.items():
        if branch.embedding is not None:
            folder, encoder = Path(branch.embedding), context.network.encoder.branches[name]
            layers[name] = frame_store.layers_of(folder, encoder, every=branch.layers == "weighted")
            if MODALITIES[name].unit == "seconds":
                measured = np.intersect1d(context.dev, rows[name])
                frame_store.refuse_cut(folder, context.utterances, measured, context.settings.predict.max_s)
    return layers


def _frames(context: TrainingContext, modality: str, rows: np.ndarray, layers: list[int] | None) -> dict[int, Tensor]:
    """Return each row's frames under a bar: these layers of the branch's embedding, or computed where None are."""
    show_progress, total = context.accelerator.is_main_process, len(rows) * len(layers or [0])
    with (
        progress(total, f"{context.title}: frames of {modality}")
        if show_progress
        else nullcontext(lambda n: None) as advance
    ):
        if layers is None:
            return dict(_states(context, modality, rows, advance))
        folder = Path(str(context.settings.branches[modality].embedding))
        return frame_store.read(folder, layers, rows, context.utterances.ids, advance)


@torch.no_grad()
def _states(
    context: TrainingContext, modality: str, rows: np.ndarray, advance: Callable[[int], None]
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row with its states, float16, on the CPU, shape ``(layers, time, width)``.

    What is trained on is read whole; of what is too long to develop on the middle is taken, as it is without a cache.
    """
    encoder, device = context.network.encoder.eval(), context.accelerator.device
    utterances, predicting = context.utterances, context.settings.predict
    every = context.settings.branches[modality].layers == "weighted"
    (order,) = by_length(utterances.lengths[rows], len(rows), predicting.batch_size)
    plan = [_batch(context, rows[indices]) for indices in in_batches(order, predicting.batch_size)]
    loader = Loader(plan, utterances.showing(modality), encoder.prepare)
    for batch, (inputs, _) in zip(plan, load(loader, context.machine.workers, device)):
        hidden = encoder.states(modality, without_rows(to(inputs, device)[modality]))
        layers = torch.stack([to_half(layer).cpu() for layer in (hidden.layers if every else hidden.layers[-1:])])
        for i, (row, length) in enumerate(zip(batch.rows.tolist(), hidden.lengths.tolist())):
            yield row, layers[:, i, :length].clone()
        advance(len(batch))


def _batch(context: TrainingContext, rows: np.ndarray) -> Batch:
    batch, cut = whole(context.utterances, rows, context.settings.predict.max_s), np.isin(rows, context.dev)
    return Batch(rows, np.where(cut, batch.starts_s, 0.0), np.where(cut, batch.durations_s, np.nan))
