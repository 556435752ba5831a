"""A plugin of pytest: bitsandbytes takes the processor for one with AVX512-BF16, or without, by $CLAIMED_AVX512BF16."""

import os

from bitsandbytes import functional
from bitsandbytes.nn import modules

functional.has_avx512bf16 = modules.has_avx512bf16 = lambda: os.environ["CLAIMED_AVX512BF16"] == "1"
