"""Python, the packages that were proven together, and what this machine computes with."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pipeline_lib.doctor.result import Result
from pipeline_lib.errors import InputError

PYTHON = ((3, 11), (3, 13))  # from, below
OPTIONAL = {"bitsandbytes", "ray", "submitit", "pip-audit", "pytest", "ruff", "jiwer", "opensmile", "torchmetrics"}
LEAST_MEMORY_GB = 4.0
INSTALL = "pip install -c constraints.txt -e ."


def installation(root: Path) -> Iterator[Result]:
    """Compare the interpreter and every installed package with constraints.txt."""
    found, (low, high) = sys.version_info[:2], PYTHON
    expected = f"{'.'.join(map(str, low))} or later, below {'.'.join(map(str, high))}"
    if low <= found < high:
        yield Result("Python", "ok", sys.version.split()[0])
    else:
        yield Result("Python", "problem", sys.version.split()[0], f"install Python {expected}, and the project anew")
    constraints = root / "constraints.txt"
    if not constraints.is_file():
        yield Result("packages", "warning", f"{constraints} is missing", "fetch it: git checkout constraints.txt")
        return
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    drifted, absent = [], []
    for name, said in pinned:
        try:
            here = version(name).partition("+")[0]
        except PackageNotFoundError:
            absent.append(name)
            continue
        if here != said:
            drifted.append(f"{name} {here} (proven: {said})")
    needed = [name for name in absent if name in _direct(root)]
    if needed:
        yield Result("packages", "problem", f"not installed: {', '.join(needed)}", INSTALL)
    if drifted:
        said = ", ".join(drifted[:6]) + (f" and {len(drifted) - 6} more" if len(drifted) > 6 else "")
        yield Result("packages", "warning", said, INSTALL)
    if not needed and not drifted:
        yield Result("packages", "ok", f"{len(pinned) - len(absent)} as in constraints.txt")


def hardware(device: str = "auto") -> Iterator[Result]:
    """Say what the stages will compute on, and how much memory is free."""
    free_gb = psutil.virtual_memory().available / 1e9
    few = free_gb < LEAST_MEMORY_GB
    remedy = "close other programs, or choose smaller batches" if few else ""
    yield Result("memory", "warning" if few else "ok", f"{free_gb:.1f} GB free", remedy)
    import torch

    from pipeline_lib.encoders.device import half_precision, pick

    try:
        chosen = pick(device)
    except InputError as error:
        yield Result("device", "problem", str(error), "install the driver and torch's CUDA build, or set device: auto")
        return
    if chosen.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        said = f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        dtype = "bfloat16" if half_precision(chosen) else "float32 only"
        yield Result("device", "ok", f"{said}, {dtype}, CUDA {torch.version.cuda}")
    elif torch.version.cuda is None and Path("/proc/driver/nvidia/version").exists():
        said = f"torch {torch.__version__} is a CPU build, this machine has an NVIDIA driver"
        yield Result("device", "warning", said, "install torch's CUDA build")
    elif torch.version.cuda is not None and chosen.type == "cpu":
        said = f"torch is built for CUDA {torch.version.cuda} and finds no GPU"
        yield Result("device", "warning", said, "nvidia-smi shows whether the driver is there and new enough")
    else:
        yield Result("device", "ok", f"{chosen.type}, {torch.get_num_threads()} threads, float32")


def _direct(root: Path) -> set[str]:
    """Return the packages that pyproject.toml names as dependencies."""
    import tomllib

    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return set()
    return {re.split(r"[\[<>=!~; ]", each)[0].replace("_", "-").lower() for each in project.get("dependencies", [])}
