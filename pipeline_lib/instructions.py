"""The same arithmetic on x86 processors with and without AVX-512: libraries are held to AVX2 where there is more.

Which vector instructions a library takes moves its sums by rounding, and a training carries that into other posteriors
(benchmarks/README.md). On a processor without AVX-512 nothing is set, so that what was made there stays as it is; a
variable that is set already stays, so that ``ATEN_CPU_CAPABILITY=avx512`` brings torch's back.
"""

import os
from collections.abc import Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
HELD: Mapping[str, str] = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own loops
    "MKL_CBWR": "AVX2",  # MKL, torch's matrix products: what it takes on AMD's processors
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's matrix products: what it takes on AMD's Zen before AVX-512
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy's own loops, of 2.4
}


def hold(cpuinfo: Path = CPUINFO) -> None:
    """Set the variables of HELD where the processor has AVX2 and AVX-512; before any library is imported.

    Args:
        cpuinfo: Linux's description of the processors; without it nothing is set
    """
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return
    flags = {flag for line in first.splitlines() if line.startswith("flags") for flag in line.split()}
    if {"avx2", "avx512f"} <= flags:
        for name, value in HELD.items():
            os.environ.setdefault(name, value)
