"""Processor, threads and library versions of the process that scores, for ``made_on`` of metrics/details.json.

They explain a difference between two machines and are no score: ``benchmarks.same_results`` prints and never compares
them. They are those of the last stage; a model's own device and precision stand in its folder (docs/tables.md).
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

KEY = "made_on"
INSTRUCTIONS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile")
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "transformers", "peft", "soxr", "pandas", "pyarrow")
CPUINFO = Path("/proc/cpuinfo")
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")


def made_on(cpuinfo: Path = CPUINFO) -> dict[str, Any]:
    """Return what of this machine moves results by rounding.

    Args:
        cpuinfo: Linux's description of the processors; elsewhere there is none
    """
    described = _described(cpuinfo)
    flags = set(described.get("flags", described.get("Features", "")).split())
    return {
        "processor": described.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "pools": sorted({_pool(each) for each in threadpool_info()}),
        "python": platform.python_version(),
        "libraries": {name: installed for name in LIBRARIES if (installed := _version(name))},
    }


def _described(cpuinfo: Path) -> dict[str, str]:
    """Return the first processor's fields, none where the file cannot be read."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    fields = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def _pool(info: dict[str, Any]) -> str:
    """Return a library that computes in threads, in a phrase: "openblas 0.3.33 Zen, 2 threads"."""
    named = (info["internal_api"], info.get("version"), info.get("architecture"))
    return f"{' '.join(str(each) for each in named if each)}, {info['num_threads']} threads"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
