"""Arithmetic and memory of devices: published peaks of GPUs, or a matrix product measured on this machine."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from psutil import virtual_memory

from pipeline_lib.encoders.device import half_precision, pick
from pipeline_lib.errors import InputError

SIDE = 2048  # of the matrices
SECONDS = 0.5  # of measuring


@dataclass(frozen=True)
class Device:
    """What a device computes at best.

    Attributes:
        name: for the page
        float32: FLOP a second of matrix products in float32 (no TF32, which PyTorch leaves off by default)
        bfloat16: likewise in bfloat16, dense; None where the hardware has none
        memory_gb: in 10^9 bytes
        source: of the figures
    """

    name: str
    float32: float
    bfloat16: float | None
    memory_gb: float
    source: str

    def rate(self, *, half: bool) -> float:
        """Return FLOP a second in bfloat16 where that is requested and the hardware has it, else in float32."""
        return self.bfloat16 if half and self.bfloat16 else self.float32


DATA_SHEET = "the maker's data sheet, dense"
PUBLISHED = {
    "h200": Device("NVIDIA H200 SXM", 67e12, 989e12, 141, DATA_SHEET),
    "h100": Device("NVIDIA H100 SXM", 67e12, 989e12, 80, DATA_SHEET),
    "a100": Device("NVIDIA A100 80 GB SXM", 19.5e12, 312e12, 80, DATA_SHEET),
    "l40s": Device("NVIDIA L40S", 91.6e12, 362e12, 48, DATA_SHEET),
    "rtx4090": Device("NVIDIA GeForce RTX 4090", 82.6e12, 165e12, 24, DATA_SHEET),
    "l4": Device("NVIDIA L4", 30.3e12, 121e12, 24, DATA_SHEET),
}


def device_of(name: str | None) -> Device:
    """Return a device by its name in ``PUBLISHED``, or the one at hand, measured.

    Args:
        name: None for the one at hand

    Raises:
        InputError: the name is unknown
    """
    if name is None:
        return measured(pick())
    if name not in PUBLISHED:
        raise InputError(f"--device is {name!r}, expected one of {list(PUBLISHED)}, or no --device for the one at hand")
    return PUBLISHED[name]


def measured(device: torch.device, side: int = SIDE, seconds: float = SECONDS) -> Device:
    """Return a device with the rates of a matrix product on it.

    Args:
        device: to measure
        side: of the square matrices
        seconds: for each precision
    """
    half = half_precision(device)
    rates = [None if dtype is None else _rate(device, dtype, side, seconds) for dtype in (torch.float32, half)]
    assert rates[0] is not None  # float32 is always measured
    source = f"a product of matrices of {side} x {side}, measured"
    return Device(describe(device), rates[0], rates[1], memory_gb(device), source)


def describe(device: torch.device) -> str:
    """Return the name of a device, of a CPU its threads and the vector instructions that tell it apart."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    return f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} thread(s)"


def memory_gb(device: torch.device) -> float:
    """Return the memory of a device in 10^9 bytes, of a CPU what is available now."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 1e9
    return virtual_memory().available / 1e9


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the mean seconds of a call, after one that warms up.

    Args:
        work: to call
        device: that it computes on
        seconds: it is repeated until so many have passed
    """
    work()
    wait(device)
    begun, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - begun < seconds:
        work()
        wait(device)
        calls += 1
    return (time.perf_counter() - begun) / calls


def _rate(device: torch.device, dtype: torch.dtype, side: int, seconds: float) -> float:
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    return 2 * side**3 / timed(lambda: matrix @ matrix, device, seconds)
