"""Device and precision of a model."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

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


def autocast(device: torch.device, *, enabled: bool = True) -> AbstractContextManager:
    """Return a context in which matrix products run in bfloat16 where the hardware has it.

    Args:
        device: where the model runs
        enabled: False leaves the precision unchanged
    """
    dtype = half_precision(device) if enabled else None
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
