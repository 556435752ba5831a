"""The same arithmetic on x86 processors with and without AVX-512, for the demonstration, whose scores are compared.

Which vector instructions a library takes moves its sums by rounding, and a training carries that into other posteriors
(benchmarks/README.md). Where params.yaml has a demonstration, libraries are held to AVX2, also where there is more;
with another corpus nothing is held: wider instructions are faster. A variable that is set already stays, so that
``ATEN_CPU_CAPABILITY=avx512`` brings torch's back.
"""

import os
import re
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
DEMONSTRATION = re.compile(r"^demonstration:[ \t]*(#.*)?$", re.MULTILINE)  # a recipe without one has {} behind it


def hold(params: Path = Path("params.yaml"), cpuinfo: Path = CPUINFO) -> None:
    """Set the variables of HELD for a demonstration on a processor with AVX-512; before any library is imported.

    Args:
        params: parameters of the run; without the file nothing is set
        cpuinfo: Linux's description of the processors; without it nothing is set
    """
    try:
        text = params.read_text(encoding="utf-8", errors="replace")
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return
    flags = {flag for line in first.splitlines() if line.startswith("flags") for flag in line.split()}
    if DEMONSTRATION.search(text) and {"avx2", "avx512f"} <= flags:
        for name, value in HELD.items():
            os.environ.setdefault(name, value)
