"""Speech for training checkpoints: sentences and voices that no development or test split ever holds, no emotions."""

from collections.abc import Iterator

import numpy as np

from pipeline_lib.demonstration import prosody, sentences
from pipeline_lib.demonstration.synthesis import Utterance, speak_all
from pipeline_lib.demonstration.voices import VOICES

WARPS = (0.92, 1.12)  # widens the range of vocal tracts beyond that of the voices


def plan(rng: np.random.Generator, count: int) -> list[Utterance]:
    """Draw utterances: an open sentence, a checkpoint voice, any manner of speaking.

    Args:
        rng: source of the draws
        count: number of utterances
    """
    drawn = []
    markers = (None, *sentences.MARKERS)
    for _ in range(count):
        text = sentences.draw(rng, markers[int(rng.integers(len(markers)))], "open")
        voice = VOICES["checkpoint"][int(rng.integers(len(VOICES["checkpoint"])))]
        warp = round(float(rng.uniform(*WARPS)), 3)
        drawn.append(Utterance(text, voice.espeak, prosody.draw_any(rng), round(float(rng.random()), 3), warp))
    return drawn


def speak(utterances: list[Utterance], workers: int) -> Iterator[np.ndarray]:
    """Yield the waveforms in order: float32 in [-1, 1], mono, 16 kHz, shape ``(n_samples,)``.

    Args:
        utterances: to speak
        workers: number of processes
    """
    for wave in speak_all(utterances, workers):
        yield (wave / 32768.0).astype(np.float32)
