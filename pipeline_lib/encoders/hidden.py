"""Hidden states of an encoder, and how they are taken from a model of transformers.

Layer 0 is the input of the first transformer block, layer i the output of block i as it enters block i + 1. Layer
``n_layers`` is the model's last hidden state: where the architecture ends in a norm of its own (HuBERT, wav2vec 2.0
and WavLM with "stable" layer norm, the Whisper encoder, LLaMA) that norm is applied, as it was in pretraining.
De Oliveira et al., figure 2, count alike, but their 0 is the convolutional output, before projection and positions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Visitor = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Hidden:
    """Hidden states of a batch, undefined behind an utterance's length.

    Attributes:
        layers: n_layers + 1 tensors of shape ``(batch, time, width)``
        lengths: valid frames or tokens, int64, shape ``(batch,)``
    """

    layers: tuple[Tensor, ...]
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """True where a frame is the utterance's own, shape ``(batch, time)``."""
        return valid(self.lengths, self.layers[0].shape[1])


def valid(lengths: Tensor, time: int) -> Tensor:
    """Return the mask of the frames within each utterance's length, bool, shape ``(batch, time)``.

    Args:
        lengths: int64, shape ``(batch,)``
        time: frames of the padded batch
    """
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def backbone(model: nn.Module) -> nn.Module:
    """Return the model of transformers inside adapters of peft, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def watch(
    model: nn.Module,
    blocks: nn.ModuleList,
    inputs: Mapping[str, Tensor],
    visit: Visitor,
    last_norm: nn.Module | None = None,
) -> None:
    """Run the model and call ``visit`` with each layer as it is computed.

    Hooks stand before the blocks, not behind them: so the output of an adapter around a block is included, and a hook
    reads what gradient checkpointing stores. A block that layer drop skips passes its input on.

    Args:
        model: of transformers, adapters included
        blocks: its transformer blocks, in order
        inputs: of the model, tensors of shape ``(batch, ...)``
        visit: takes the number of a layer and its states, float32, shape ``(batch, time, width)``
        last_norm: behind the last block, where there is one
    """
    n_visited = 0

    def before(i: int, _: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        nonlocal n_visited
        states = (args[0] if args else kwargs["hidden_states"]).float()
        for layer in range(n_visited, i + 1):
            visit(layer, states)
        n_visited = max(n_visited, i + 1)

    watched = [*enumerate(blocks), *([(len(blocks) - 1, last_norm)] if last_norm is not None else [])]
    hooks = [module.register_forward_pre_hook(partial(before, i), with_kwargs=True) for i, module in watched]
    try:
        last = model(**inputs).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    for i in range(n_visited, len(blocks) + 1):
        visit(i, last.float())
