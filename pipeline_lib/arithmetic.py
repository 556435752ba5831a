"""The same arithmetic on machines with more cores and other instructions, for the demonstration alone.

How many threads share a sum, and which vector instructions a library takes, moves it by rounding; a training carries
that into other posteriors (benchmarks/README.md). Where params.yaml has a demonstration, stages compute with one thread
and, also on a processor with AVX-512, by AVX2; with another corpus nothing is held, as more threads and wider
instructions are faster. A variable that is set already stays, so that ``OMP_NUM_THREADS=8`` brings threads back.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
THREADS: Mapping[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
INSTRUCTIONS: Mapping[str, str] = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own loops
    "MKL_CBWR": "AVX2",  # MKL, torch's matrix products: what it takes on AMD's processors
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's matrix products: what it takes on AMD's Zen before AVX-512
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's own loops, of 2.4
}
DEMONSTRATION = re.compile(r"^demonstration:[ \t]*(#.*)?$", re.MULTILINE)  # a recipe without one has {} behind it


def hold(params: Path = Path("params.yaml"), cpuinfo: Path = CPUINFO) -> None:
    """Set the variables for a demonstration: THREADS, and INSTRUCTIONS on a processor with AVX2 and AVX-512.

    To be called before any library is imported.

    Args:
        params: parameters of the run; without the file nothing is set
        cpuinfo: Linux's description of the processors; without it the instructions are not held
    """
    try:
        if not DEMONSTRATION.search(params.read_text(encoding="utf-8", errors="replace")):
            return
    except OSError:
        return
    held = [THREADS, INSTRUCTIONS] if {"avx2", "avx512f"} <= _flags(cpuinfo) else [THREADS]
    for variables in held:
        for name, value in variables.items():
            os.environ.setdefault(name, value)


def _flags(cpuinfo: Path) -> set[str]:
    """Return the instructions of the first processor."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return set()
    return {flag for line in first.splitlines() if line.startswith("flags") for flag in line.split()}
