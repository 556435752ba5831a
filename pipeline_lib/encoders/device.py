"""Device and precision of a model."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from pipeline_lib.errors import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]


def pick(device: Device = "auto") -> torch.device:
    """Return the named device; ``auto`` is a CUDA GPU where there is one, else Apple's, else the CPU.

    Raises:
        InputError: this machine, or this build of torch, has no such device
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, here in present.items() if here))
    if not present[device]:
        usable = [name for name, here in present.items() if here]
        raise InputError(
            f"device is {device!r}, this machine has {usable} (a driver missing, or a CPU build of torch?)"
        )
    return torch.device(device)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where the hardware computes in it, else None: emulated, it is slower than float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return None


def autocast_dtype(device: torch.device, *, enabled: bool = True) -> torch.dtype | None:
    """Return the type of matrix products under ``autocast``, None where it leaves the precision unchanged.

    Args:
        device: where the model runs
        enabled: False leaves the precision unchanged
    """
    return half_precision(device) if enabled else None


def autocast(device: torch.device, *, enabled: bool = True) -> AbstractContextManager:
    """Return a context in which matrix products run in bfloat16 where the hardware has it.

    Args:
        device: where the model runs
        enabled: False leaves the precision unchanged
    """
    dtype = autocast_dtype(device, enabled=enabled)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def precision_of(model: nn.Module, products: torch.dtype | None = None) -> str:
    """Return the precision of a model's forward pass, for metadata: "nf4", "float32 under bfloat16 autocast".

    Args:
        model: its weights give the first part: nf4 where they are packed in 4 bit, else the narrowest of their types,
            LoRA's excepted
        products: of the matrix products where the pass runs under autocast, see ``autocast_dtype``; else None
    """
    if getattr(model, "is_loaded_in_4bit", False):
        weights = "nf4"
    else:
        own = (p for name, p in model.named_parameters() if "lora_" not in name and p.is_floating_point())
        weights = _name(min((p.dtype for p in own), key=lambda dtype: dtype.itemsize, default=torch.float32))
    return weights if products is None else f"{weights} under {_name(products)} autocast"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
