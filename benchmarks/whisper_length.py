"""Whisper's encoder on clips as long as they are against clips filled up to 30 s: CPU seconds, and what changes.

``python -m benchmarks.whisper_length CHECKPOINT AUDIO`` takes folders of a Whisper and of recordings, of which
``--clips`` are drawn evenly, one a batch, and prints the ratio of CPU seconds (log mels and encoder, the least of
``--rounds``), the same forward and backward with LoRA on the attention of all blocks, and the cosine of each layer's
mean over time. Run it with OMP_NUM_THREADS=1.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from pipeline_lib.audio.decoding import SAMPLE_RATE, decode
from pipeline_lib.command import run
from pipeline_lib.encoders.load import load_speech
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings


def main(checkpoint: str, audio: Path, clips: int = 12, rounds: int = 3) -> None:
    """Print the ratio and the cosines."""
    torch.set_num_threads(1)
    files = sorted(
        path for path in audio.rglob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg", ".opus", ".mp3")
    )
    if not files:
        raise InputError(f"{audio} has no recordings, expected .wav, .flac, .ogg, .opus or .mp3 below it")
    waveforms = [decode(files[i]) for i in np.linspace(0, len(files) - 1, min(clips, len(files))).astype(int)]
    seconds = np.array([len(waveform) for waveform in waveforms]) / SAMPLE_RATE
    print(f"{len(waveforms)} clips of {seconds.min():.1f} to {seconds.max():.1f} s, mean {seconds.mean():.2f} s")
    cost, trained, pooled = {}, {}, {}
    for length in ("padded_30s", "true_length"):
        encoder = load_speech(EncoderSettings(checkpoint=checkpoint, whisper_length=length), torch.device("cpu"))
        cost[length] = min(measured(encoder, waveforms) for _ in range(rounds))
        pooled[length] = torch.stack([mean(encoder, waveform) for waveform in waveforms])  # (clips, layers, width)
        encoder.model = attach(encoder.model, AdaptationSettings(method="lora"))
        trained[length] = min(measured_training(encoder, waveforms) for _ in range(rounds))
        each = [1000 * seconds[length] / len(waveforms) for seconds in (cost, trained)]
        print(f"{length}: {each[0]:.0f} ms a clip, {each[1]:.0f} ms forward and backward with LoRA")
    ratios = [seconds["padded_30s"] / seconds["true_length"] for seconds in (cost, trained)]
    print(f"ratio: {ratios[0]:.1f}, {ratios[1]:.1f} forward and backward with LoRA")
    cosine = functional.cosine_similarity(pooled["padded_30s"], pooled["true_length"], dim=2)
    for i, column in enumerate(cosine.T):
        print(f"layer {i}: cosine {column.mean():.4f}, least {column.min():.4f}")


@torch.inference_mode()
def measured(encoder: SpeechEncoder, waveforms: list[np.ndarray]) -> float:
    """Return the CPU seconds that all clips take, one after the other."""
    begun = time.process_time()
    for waveform in waveforms:
        encoder(**encoder.prepare([waveform]))
    return time.process_time() - begun


def measured_training(encoder: SpeechEncoder, waveforms: list[np.ndarray]) -> float:
    """Return the CPU seconds of all clips forward and backward, one after the other, with log mels."""
    encoder.train()
    begun = time.process_time()
    for waveform in waveforms:
        hidden = encoder(**encoder.prepare([waveform]))
        hidden.layers[-1].mean().backward()
    return time.process_time() - begun


@torch.inference_mode()
def mean(encoder: SpeechEncoder, waveform: np.ndarray) -> torch.Tensor:
    """Return each layer's mean over the clip's own frames, shape ``(layers, width)``."""
    hidden = encoder(**encoder.prepare([waveform]))
    return torch.stack([layer[0, : int(hidden.lengths[0])].mean(dim=0) for layer in hidden.layers])


if __name__ == "__main__":
    run(main)
