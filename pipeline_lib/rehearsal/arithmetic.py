"""Floating-point operations and saved activations of a forward and backward pass, on tensors with or without values."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: 4 bits, 8 for 64 weights, 32 for 256 of these
ATTENTION_FLOP = {  # torch's counter knows the kernels of CUDA only
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda *shapes, **_: sdpa_flop_count(*shapes[:3]),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda *shapes, **_: sdpa_backward_flop_count(
        *shapes[:4]
    ),
}


def run(network: nn.Module, forward: Callable[[], Any], *, backward: bool) -> tuple[int, int, int]:
    """Return bytes that autograd saves of a forward pass, and FLOP of that pass, alone and with backward.

    Args:
        network: whose own tensors do not count
        forward: runs it
        backward: whether the result is a scalar to be differentiated; else both counts are those of the forward pass
    """
    saved: dict[int, Tensor] = {}
    own = {tensor.untyped_storage()._cdata for tensor in [*network.parameters(), *network.buffers()]}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            saved.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOP)
    with counter:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            result = forward()
        alone = counter.get_total_flops()
        activations = sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
        if backward:
            result.backward()
    return activations, alone, counter.get_total_flops()


def packed_names(network: nn.Module) -> Iterator[str]:
    """Yield the names of weights that nf4 packs: of the encoder's linear layers, LoRA's own left out."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("encoder.") and "lora_" not in name:
            yield f"{name}.weight"


def make_fake(network: nn.Module, packed: set[str]) -> None:
    """Put fake tensors of a CPU in the place of those on the meta device; beside packed weights all is in float32.

    Args:
        network: on the meta device
        packed: names of weights in 4 bit, see ``packed_names``
    """
    for prefix, module in network.named_modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                dtype = torch.float32 if packed and f"{prefix}.{name}" not in packed else tensor.dtype
                replaced = torch.empty(tensor.shape, dtype=dtype)
                module._parameters[name] = nn.Parameter(replaced, requires_grad=tensor.requires_grad)
        for name, tensor in module._buffers.items():
            if tensor is not None:
                module._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
