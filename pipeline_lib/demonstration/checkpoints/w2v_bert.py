"""A small w2v-BERT 2.0 (Wav2Vec2BertModel), pretrained on speech without labels.

The architecture and the features are the real ones (80 log-mel bins, two frames stacked, 50 frames a second; Barrault
et al. 2023), the sizes are not. The real model learns by contrast and masked prediction of quantised units, from
millions of hours; this one, from hours, reconstructs the masked log-mel frames (Liu et al., Mockingjay, ICASSP 2020)
and reads pitch and energy, measured in the waveform, at every frame (as the workers of Pascual et al., PASE,
Interspeech 2019, do). No label of any kind is used; both heads are thrown away.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline_lib.demonstration.checkpoints import speech
from pipeline_lib.demonstration.checkpoints.schedule import like_long, warm_up_and_decay

SEED = 11
BATCH, PEAK_RATE, WARM_UP_STEPS = 16, 2e-3, 50
MASKED_SHARE, MASKED_FRAMES = 0.4, (4, 16)  # of the frames; length of one masked stretch, frames of 20 ms
FRAME, HOP, LAGS = 640, 320, (40, 320)  # samples at 16 kHz; pitch from 50 to 400 Hz
OCTAVE_COST = 0.05  # a period of twice the length must correlate so much better
CONFIG = {
    "hidden_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 288,
    "output_hidden_size": 96,
    "layerdrop": 0.0,
    "conformer_conv_dropout": 0.0,
    "final_dropout": 0.0,
    "add_adapter": False,
}


def train_checkpoint(out: Path, utterances: int, steps: int) -> None:
    """Speak, pretrain, save model and feature extractor as transformers does.

    Args:
        out: folder to write
        utterances: number of utterances to speak
        steps: number of training steps
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    extractor = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2, sampling_rate=16_000)
    planned = speech.plan(rng, utterances)
    features, prosody = [], []
    for wave in speech.speak(planned, workers=2):
        features.append(features_of(extractor, wave))
        prosody.append(contour(wave, len(features[-1])))
    model = Wav2Vec2BertModel(Wav2Vec2BertConfig(**CONFIG, apply_spec_augment=True))
    pretrain(model, features, prosody, steps, rng)
    model.config.apply_spec_augment = False
    model.save_pretrained(out)
    extractor.save_pretrained(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")


def features_of(extractor: SeamlessM4TFeatureExtractor, wave: np.ndarray) -> Tensor:
    """Return the model's input for one utterance, shape ``(n_frames, 160)``.

    Args:
        extractor: of the model
        wave: mono, 16 kHz, float32 in [-1, 1], shape ``(n_samples,)``
    """
    return extractor(wave, sampling_rate=16_000, return_tensors="pt", padding=False)["input_features"][0]


def contour(wave: np.ndarray, n_frames: int) -> Tensor:
    """Return pitch and energy of a waveform, frame by frame.

    Args:
        wave: mono, 16 kHz, shape ``(n_samples,)``
        n_frames: number of frames of 20 ms

    Returns:
        shape ``(n_frames, 2)``: log2 of the fundamental frequency over 128 Hz, by autocorrelation over 40 ms, NaN where
        its peak is below 0.5; and log energy, in natural units, over the utterance's mean
    """
    padded = np.pad(wave, (0, FRAME))
    starts = np.minimum(np.arange(n_frames) * HOP, len(wave))
    frames = padded[starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME)
    spectrum = np.abs(np.fft.rfft(frames, 2 * FRAME)) ** 2
    correlation = np.fft.irfft(spectrum)[:, : LAGS[1]]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(FRAME), 2 * FRAME)) ** 2)[: LAGS[1]]
    energy = correlation[:, :1] + 1e-8
    peaks = (correlation / energy / (window / window[0]))[:, LAGS[0] :]
    lags = LAGS[0] + (peaks - OCTAVE_COST * np.log2(np.arange(*LAGS) / LAGS[0])).argmax(axis=1)
    pitch = np.log2(16_000 / lags / 128)
    pitch[peaks.max(axis=1) < 0.5] = np.nan
    level = np.log(energy[:, 0] + 1e-6)
    return torch.from_numpy(np.stack([pitch, level - level.mean()], axis=1)).float()


def pretrain(
    model: Wav2Vec2BertModel, features: list[Tensor], prosody: list[Tensor], steps: int, rng: np.random.Generator
) -> None:
    """Minimise the absolute error of the masked frames plus that of pitch and energy in all frames.

    Args:
        model: changed in place
        features: one tensor an utterance, shape ``(n_frames, 160)``
        prosody: pitch and energy, shape ``(n_frames, 2)``, see ``contour``
        steps: number of batches
        rng: source of the order and of the masks
    """
    width = features[0].shape[1]
    head = nn.Linear(model.config.hidden_size, width + 2)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warm_up_and_decay(s, WARM_UP_STEPS, steps))
    batches = like_long([len(frames) for frames in features], BATCH, rng)
    model.train()
    started, losses = time.monotonic(), []
    for step in range(steps):
        chosen = next(batches)
        inputs = nn.utils.rnn.pad_sequence([features[i] for i in chosen], batch_first=True)
        expected = nn.utils.rnn.pad_sequence([prosody[i] for i in chosen], batch_first=True, padding_value=float("nan"))
        n_frames = [len(features[i]) for i in chosen]
        valid = torch.arange(inputs.shape[1]) < torch.tensor(n_frames)[:, None]
        masked = torch.stack([_mask(inputs.shape[1], n, rng) for n in n_frames])
        hidden = model(inputs, attention_mask=valid.long(), mask_time_indices=masked).last_hidden_state
        read = head(hidden)
        filled = (read[..., :width][masked] - inputs[masked]).abs().mean()
        read_errors = torch.stack([(read[..., width + k] - expected[..., k]).abs().nanmean() for k in range(2)])
        loss = filled + read_errors.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append([filled.item(), *read_errors.tolist()])
        if step % 100 == 99:
            frames, pitch, energy = np.mean(losses[-100:], axis=0)
            took_s = time.monotonic() - started
            print(
                f"step {step + 1}: frames {frames:.4f} pitch {pitch:.4f} energy {energy:.4f}, {took_s:.0f} s",
                flush=True,
            )


def _mask(width: int, n_frames: int, rng: np.random.Generator) -> Tensor:
    """Return a mask of the hidden frames, bool, shape ``(width,)``, none of them padding."""
    mask = torch.zeros(width, dtype=torch.bool)
    while mask.sum() < MASKED_SHARE * n_frames:
        begin = int(rng.integers(n_frames))
        mask[begin : min(n_frames, begin + int(rng.integers(*MASKED_FRAMES)))] = True
    return mask
