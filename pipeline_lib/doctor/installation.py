"""Python, the package versions that were tested together, and the devices of this machine."""

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pipeline_lib.doctor.result import Result
from pipeline_lib.errors import InputError

if TYPE_CHECKING:  # imports torch
    from pipeline_lib.encoders.device import Device

PYTHON = ((3, 11), (3, 13))  # from, below
LEAST_MEMORY_GB = 4.0
NEEDED, CHOSEN = ("pipeline",), ("asr",)  # extras: dvc repro needs the one, Canary the other
INSTALL = "make install"


def installation(root: Path) -> Iterator[Result]:
    """Yield the results for the interpreter and for every package that constraints.txt below ``root`` pins."""
    low, high = PYTHON
    expected = f"{'.'.join(map(str, low))} or later, below {'.'.join(map(str, high))}"
    if low <= sys.version_info[:2] < high:
        yield Result("Python", "ok", sys.version.split()[0])
    else:
        yield Result("Python", "problem", sys.version.split()[0], f"install Python {expected}, and the project anew")
    constraints = root / "constraints.txt"
    if not constraints.is_file():
        yield Result("packages", "warning", f"{constraints} is missing", "fetch it: git checkout constraints.txt")
        return
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    drifted, absent = [], []
    for name, tested in pinned:
        try:
            here = version(name).partition("+")[0]
        except PackageNotFoundError:
            absent.append(name)
            continue
        if here != tested:
            drifted.append(f"{name} {here} (tested: {tested})")
    core, asr = _direct(root)
    needed, chosen = [name for name in absent if name in core], [name for name in absent if name in asr]
    if needed:
        yield Result("packages", "problem", f"not installed: {', '.join(needed)}", INSTALL)
    if chosen:
        message = f"not installed: {', '.join(chosen)}, which transcription.engine canary needs"
        yield Result("packages", "warning", message, INSTALL)
    if drifted:
        message = ", ".join(drifted[:6]) + (f" and {len(drifted) - 6} more" if len(drifted) > 6 else "")
        yield Result("packages", "warning", message, INSTALL)
    if not needed and not chosen and not drifted:
        yield Result("packages", "ok", f"{len(pinned) - len(absent)} as in constraints.txt")


def hardware(device: "Device" = "auto") -> Iterator[Result]:
    """Yield the results for free memory and for the device that the stages will use: ``auto``, ``cpu``, ``cuda``."""
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
        message = f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        dtype = "bfloat16" if half_precision(chosen) else "float32 only"
        yield Result("device", "ok", f"{message}, {dtype}, CUDA {torch.version.cuda}")
    elif torch.version.cuda is None and Path("/proc/driver/nvidia/version").exists():
        message = f"torch {torch.__version__} is a CPU build, this machine has an NVIDIA driver"
        yield Result("device", "warning", message, "install torch's CUDA build")
    elif torch.version.cuda is not None and chosen.type == "cpu":
        message = f"torch is built for CUDA {torch.version.cuda} and finds no GPU"
        yield Result("device", "warning", message, "nvidia-smi shows whether the driver is there and new enough")
    else:
        yield Result("device", "ok", f"{chosen.type}, {torch.get_num_threads()} threads, float32")


def _direct(root: Path) -> tuple[set[str], set[str]]:
    """Return the packages that pyproject.toml names: those of the core and NEEDED extras, those of CHOSEN ones."""
    import tomllib

    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return set(), set()
    extras = project.get("optional-dependencies", {})
    needed = [*project.get("dependencies", []), *(line for name in NEEDED for line in extras.get(name, []))]
    return _names(needed), _names(line for name in CHOSEN for line in extras.get(name, []))


def _names(lines: Iterable[str]) -> set[str]:
    """Return the packages of requirements such as ``nemo_toolkit[asr]>=3.0``, as pip normalises them."""
    return {re.split(r"[\[<>=!~; ]", line)[0].replace("_", "-").lower() for line in lines}
