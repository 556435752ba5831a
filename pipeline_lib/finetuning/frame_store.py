"""Frames of a frozen branch from ``data/embeddings/<name>/``: read once into memory in place of running the encoder.

An embedding holds whole utterances, so its frames are those of training. Prediction reads them too, unless an utterance
is longer than ``predict.max_s``: then the encoder runs, on the middle of those.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.tables import embeddings


def layers_of(folder: Path, encoder: SpeechEncoder | TextEncoder, *, every: bool) -> list[int]:
    """Return the numbers of the layers that a branch reads: all of them, or the last.

    Args:
        folder: of the embedding
        encoder: the branch's
        every: whether the branch joins all layers

    Raises:
        InputError: the embedding is of another encoder, or lacks a layer or its frames
    """
    info = embeddings.read_info(folder)
    is_of = (info.encoder, info.width, info.revision)
    expected = (encoder.signature, encoder.width, info.revision if info.revision is None else encoder.revision)
    if is_of != expected:
        raise InputError(
            f"{folder} is of {info.checkpoint} at {is_of}, the branch's encoder of {encoder.checkpoint} at {expected}"
            " (kind, width, revision); run the embedding again, or set the branch's embedding to null"
        )
    numbers = list(range(encoder.n_layers + 1)) if every else [encoder.n_layers]
    absent = sorted({*numbers} - {*info.layers})
    if absent or not info.frames:
        has = f"layers {list(info.layers)} {'with' if info.frames else 'without'} frames"
        raise InputError(f"{folder} has {has}, the branch reads frames of {numbers}; set its layers and frames so")
    return numbers


def read(
    folder: Path, layers: Sequence[int], rows: np.ndarray, ids: np.ndarray, advance: Callable[[int], None]
) -> dict[int, Tensor]:
    """Return each row's frames, float16, shape ``(layers, time, width)``.

    Args:
        folder: of the embedding
        layers: numbers, in the order of the network's
        rows: of the manifest, shape ``(n_rows,)``
        ids: of all its utterances, shape ``(n,)``
        advance: of a bar that counts each row in each layer

    Raises:
        InputError: an utterance has no frames there
    """
    rows_by_id = dict(zip(ids[rows].tolist(), rows.tolist()))
    result: dict[int, Tensor] = {}
    for i, layer in enumerate(layers):
        for name, frames in embeddings.iter_frames(folder, layer):
            row = rows_by_id.get(name)
            if row is not None:
                if row not in result:
                    result[row] = torch.empty(len(layers), *frames.shape, dtype=torch.float16)
                result[row][i] = torch.from_numpy(frames)  # they were float16 before they were read: exact
                advance(1)
    absent = [name for name, row in rows_by_id.items() if row not in result]
    if absent:
        raise InputError(
            f"{folder} has no frames of {absent[0]!r} and {len(absent) - 1} others that are trained on; run the stage"
            " embedding again (dvc repro)"
        )
    return result


def refuse_cut(folder: Path, utterances: Utterances, rows: np.ndarray, max_s: float) -> None:
    """Refuse development utterances of which only the middle would be measured on: their frames are of the whole.

    Args:
        folder: of the embedding
        utterances: of the manifest
        rows: those to measure on, shape ``(n_rows,)``
        max_s: ``predict.max_s``, in seconds

    Raises:
        InputError: one is longer than ``max_s``
    """
    lengths = utterances.lengths
    long = rows[lengths[rows] > max_s]
    if len(long):
        worst = long[np.argmax(lengths[long])]
        raise InputError(
            f"{utterances.ids[worst]!r} of 'dev' lasts {lengths[worst]:.1f} s, of utterances over predict.max_s"
            f" {max_s:g} the middle is measured on, and the frames in {folder} are of the whole; raise predict.max_s,"
            " or set the branch's embedding to null"
        )
