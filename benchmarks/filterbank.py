"""How much faster w2v-BERT 2.0's filterbank is here than in transformers: CPU seconds on one thread, as a ratio.

``python -m benchmarks.filterbank`` makes 100 utterances of 5 s, takes the fastest of five rounds of each and prints
the ratio with the largest difference of the two results. Run it with OMP_NUM_THREADS=1.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import SeamlessM4TFeatureExtractor

from pipeline_lib.encoders.speech import Filterbanks

UTTERANCES, SECONDS, ROUNDS = 100, 5, 5


def main() -> None:
    """Print the ratio and the largest difference."""
    torch.set_num_threads(1)
    noise = np.random.default_rng(0)
    waveforms = [(0.1 * noise.standard_normal(16_000 * SECONDS)).astype(np.float32) for _ in range(UTTERANCES)]
    theirs, ours = SeamlessM4TFeatureExtractor(), Filterbanks()
    slow, expected = fastest(lambda: theirs(waveforms, sampling_rate=16_000, return_tensors="pt"))
    fast, made = fastest(lambda: ours(waveforms))
    difference = (made["input_features"] - expected["input_features"]).abs().max().item()
    print(
        f"transformers {slow:.2f} s, ours {fast:.2f} s of CPU: {slow / fast:.1f} x, largest difference {difference:.1e}"
    )


def fastest(work: Callable[[], dict[str, torch.Tensor]]) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the least CPU seconds of the rounds, and the result."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        result = work()
        seconds.append(time.process_time() - begun)
    return min(seconds), result


if __name__ == "__main__":
    main()
