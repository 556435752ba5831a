"""Frozen branches' frames, kept in memory from before the first epoch on, so that the encoder runs once and not always.

All layers that the branch joins are kept, in float16, which ``JointEncoder`` rounds to whether they are kept or not. A
branch is kept where its encoder is never trained, where the same audio is seen every epoch, and where the estimate fits
into what is left of the limit; the smaller branch first. What was done, and why, is said on the console.

Utterances pass through the encoder by length, in batches that do not depend on the order of training: a run that is
resumed keeps the same numbers. Other neighbours in a batch, as on the fly, can move a number by its last digit. Of
several processes each keeps all frames for itself.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.encoders.device import autocast
from pipeline_lib.encoders.joint import MODALITIES, JointEncoder, to_half
from pipeline_lib.finetuning import batches
from pipeline_lib.finetuning.batches import Batch
from pipeline_lib.finetuning.joint_settings import BranchSettings
from pipeline_lib.finetuning.logs import say
from pipeline_lib.finetuning.outputs import in_batches
from pipeline_lib.finetuning.reading import Pairs
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.shards.store import by_length

BYTES = 2  # of a float16


def keep(
    read: Pairs,
    encoder: JointEncoder,
    settings: FinetuningSettings,
    *,
    name: str,
    rows: np.ndarray,
    dev: np.ndarray,
    present: np.ndarray,
    lengths: np.ndarray,
    device: torch.device,
    shown: bool,
) -> Pairs:
    """Return the reader with the frames of all branches that may be kept and fit.

    Args:
        read: waveforms and texts
        encoder: on its device
        settings: the entry
        name: of the expert, for messages
        rows: of the manifest that are trained on or developed on
        dev: those of them of which the middle is taken where they are too long
        present: which utterances have audio and which text, of all rows of the manifest
        lengths: seconds, of all
        device: the encoder's
        shown: whether to say what is done
    """
    left, kept = settings.cache_embeddings_gb, dict(read.kept)
    if left == 0:
        return read
    mine = {each: rows[present[rows, i]] for i, each in enumerate(MODALITIES)}
    sizes = {each: _size_gb(read, encoder, settings, each, mine[each], lengths) for each in MODALITIES}
    for each in sorted(MODALITIES, key=sizes.__getitem__):
        why = _refusal(settings, each, sizes[each], left)
        if shown:
            done = f"computed anew each time: {why}" if why else f"kept in memory, {sizes[each]:.3g} GB"
            say(f"{name}: frames of {each} are {done}")
        if why is None and len(mine[each]):
            left -= sizes[each]
            found = _states(read, encoder, settings, each, mine[each], dev, lengths, device)
            kept[each] = dict(found)
    return replace(read, kept=kept)


def branch_of(settings: FinetuningSettings, modality: str) -> BranchSettings:
    """Return the settings of a modality's branch."""
    return getattr(settings.branches, modality)


def _refusal(settings: FinetuningSettings, modality: str, size_gb: float, left_gb: float) -> str | None:
    """Return why a branch's frames cannot be kept, or None."""
    method = branch_of(settings, modality).adaptation.method
    if method != "frozen":
        return f"branches.{modality}.adaptation.method is {method!r}, its encoder changes"
    chunked = [name for name, phase in settings.phases.items() if phase.chunk_s is not None]
    if modality == "audio" and chunked:
        return f"phases.{chunked[0]}.chunk_s draws other chunks each epoch"
    if modality == "audio" and settings.augmentation.is_on:
        return "augmentation changes the audio each epoch"
    if size_gb > left_gb:
        limit = f"of cache_embeddings_gb {settings.cache_embeddings_gb:g} there is {max(0.0, left_gb):.3g} left"
        return f"they would take {size_gb:.3g} GB, {limit}"
    return None


def _size_gb(
    read: Pairs,
    encoder: JointEncoder,
    settings: FinetuningSettings,
    modality: str,
    rows: np.ndarray,
    lengths: np.ndarray,
) -> float:
    """Return an estimate of what the frames of these rows take, from above."""
    branch = encoder.branches[modality]
    if modality == "audio":
        frames = float(np.ceil(lengths[rows] * branch.frame_rate_hz).sum()) + len(rows)
    else:
        frames = sum(int(branch.lengths(branch.prepare([read.texts[row]])).sum()) for row in rows)
    n_layers = branch.n_layers + 1 if branch_of(settings, modality).layers == "weighted" else 1
    return frames * n_layers * branch.width * BYTES / 1e9


@torch.no_grad()
def _states(
    read: Pairs,
    encoder: JointEncoder,
    settings: FinetuningSettings,
    modality: str,
    rows: np.ndarray,
    dev: np.ndarray,
    lengths: np.ndarray,
    device: torch.device,
) -> Iterator[tuple[int, Tensor]]:
    """Yield each row with its states, float16, on the CPU, shape ``(layers, time, width)``."""
    every = branch_of(settings, modality).layers == "weighted"
    (order,) = by_length(lengths[rows], len(rows), settings.predict.batch_size)
    plan = [rows[places] for places in in_batches(order, settings)]
    cut = np.isin(np.arange(len(lengths)), dev)
    starts, durations = batches.whole(lengths, settings)
    starts, durations = np.where(cut, starts, 0.0), np.where(cut, durations, np.nan)
    chunks = [Batch(each, starts[each], durations[each]) for each in plan]
    loader = batches.Loader(chunks, read.showing(modality), encoder.prepare, {})
    encoder.eval()
    with autocast(device, wanted=settings.precision != "float32"):
        for each, (inputs, _) in zip(plan, batches.load(loader, settings.workers, device)):
            given = batches.to(inputs, device)[modality]
            hidden = encoder.states(modality, {key: value for key, value in given.items() if key != "rows"})
            layers = torch.stack([to_half(layer).cpu() for layer in (hidden.layers if every else hidden.layers[-1:])])
            for i, (row, length) in enumerate(zip(each.tolist(), hidden.lengths.tolist())):
                yield row, layers[:, i, :length].clone()
