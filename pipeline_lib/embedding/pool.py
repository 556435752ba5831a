"""One forward pass: hidden states pooled as they arise, on the model's device, one layer in memory at a time."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.encoders.hidden import valid
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.tables.embeddings import DTYPE, to_dtype

Vectors = dict[int, np.ndarray]
Frames = dict[int, list[np.ndarray]]


def pool(states: Tensor, lengths: Tensor, pooling: str) -> Tensor:
    """Return mean, or mean and population standard deviation, over each utterance's own frames.

    Args:
        states: shape ``(batch, time, width)``
        lengths: frames of each utterance, shape ``(batch,)``
        pooling: mean or mean_std

    Returns:
        float32, shape ``(batch, width)`` or ``(batch, 2 * width)``
    """
    mask = valid(lengths, states.shape[1])[..., None]
    states = states.float().masked_fill(~mask, 0.0)
    mean = states.sum(dim=1) / lengths[:, None]
    if pooling == "mean":
        return mean
    squares = (states - mean[:, None]).masked_fill(~mask, 0.0).square().sum(dim=1)
    return torch.cat([mean, (squares / lengths[:, None]).sqrt()], dim=1)


def stored_as(encoder: Any) -> str:
    """Return the type of the stored values: float16, or what the encoder declares because its values need more."""
    return getattr(encoder, "dtype_stored", DTYPE)


def embed_batch(
    encoder: SpeechEncoder | TextEncoder,
    inputs: dict[str, Tensor],
    ids: Sequence[str],
    layers: Collection[int],
    pooling: str,
    *,
    frames: bool,
) -> tuple[Vectors, Frames]:
    """Return pooled vectors, and frames where they are stored, of one batch.

    Args:
        encoder: in eval mode
        inputs: from the encoder's ``prepare``
        ids: of the batch, for messages
        layers: numbers of the layers to store
        pooling: see ``pool``
        frames: whether every frame is stored

    Returns:
        by layer: of the stored type, ``(batch, width)``, and an array ``(n_frames, width)`` an utterance

    Raises:
        InputError: the type that is stored cannot hold a value
    """
    vectors: Vectors = {}
    dtype = stored_as(encoder)
    stored: Frames = {layer: [] for layer in layers} if frames else {}

    def collect(layer: int, states: Tensor, lengths: Tensor) -> None:
        if layer not in layers:
            return
        vectors[layer] = to_dtype(pool(states, lengths, pooling).cpu().numpy(), layer, ids, dtype)
        if frames:
            for utterance_id, hidden, n in zip(ids, states, lengths.tolist(), strict=True):
                stored[layer].append(to_dtype(hidden[None, :n].float().cpu().numpy(), layer, [utterance_id], dtype)[0])

    device = next((weights.device for weights in encoder.parameters()), torch.device("cpu"))
    encoder.each_layer({name: value.to(device) for name, value in inputs.items()}, collect)
    return vectors, stored
