"""Precision of layers, mixers and heads: float32, also where the encoder runs under autocast."""

from contextlib import AbstractContextManager

import torch


def exact(device: torch.device) -> AbstractContextManager:
    """Return a context that leaves autocast: float32 tensors are multiplied in float32."""
    return torch.autocast(device.type, enabled=False)
