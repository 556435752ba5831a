"""bitsandbytes without the kernel that it fetches from the hub, and with the same arithmetic on every processor.

On a CPU with AVX512-BF16, bitsandbytes 0.50 does two things that it does on no other. On import it requests compiled
code of the hub from the package ``kernels``, which is never run here, and warns where there is none. And a 4-bit layer
that computes in eval mode repacks its weights: they take no gradient afterwards, so that training could not go on after
an evaluation; their constants are rounded to bfloat16; a width that 32 or 64 does not divide is an error. Both are
switched off: a product is computed from unpacked weights everywhere, and results differ by rounding only.
"""

import importlib
import logging
import sys
from types import ModuleType

from torch import nn

KERNELS = "kernels"  # the package that downloads compiled code
LOGGER = "bitsandbytes.backends.cpu.ops"  # warns where there is no such code


def load_library() -> ModuleType:
    """Import bitsandbytes; every import of it, peft's too, has to come after this one.

    Raises:
        ImportError: it is not installed
    """
    if "bitsandbytes" in sys.modules:
        return sys.modules["bitsandbytes"]
    logger, imported = logging.getLogger(LOGGER), sys.modules.get(KERNELS)
    level = logger.level
    logger.setLevel(logging.ERROR)
    sys.modules[KERNELS] = None  # type: ignore[assignment]  # an import of it fails
    try:
        return importlib.import_module("bitsandbytes")
    finally:
        logger.setLevel(level)
        del sys.modules[KERNELS]
        if imported is not None:
            sys.modules[KERNELS] = imported


def keep_one_path(model: nn.Module) -> None:
    """Keep the 4-bit layers of a model from repacking their weights on a CPU with AVX512-BF16."""
    linear = load_library().nn.Linear4bit
    for module in model.modules():
        if isinstance(module, linear):
            module.support_avx512bf16_for_cpu = False
