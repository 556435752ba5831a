"""A small w2v-BERT 2.0 (Wav2Vec2BertModel), pretrained by filling in masked stretches of speech.

The architecture and the features are the real ones (80 log-mel bins, two frames stacked, 50 frames a second; Barrault
et al. 2023), the sizes are not. The real model learns by contrast and masked prediction of quantised units; this one
reconstructs the masked log-mel frames, which needs no quantiser (Liu et al., Mockingjay, ICASSP 2020). No label of any
kind is used; the reconstruction head is thrown away.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline_lib.demonstration import speech
from pipeline_lib.demonstration.schedule import like_long, warm_up_and_decay

SEED = 11
BATCH, PEAK_RATE, WARM_UP_STEPS = 16, 2e-3, 50
MASKED_SHARE, MASKED_FRAMES = 0.4, (4, 16)  # of the frames; length of one masked stretch, frames of 20 ms
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
    """Speak, pretrain, save model and feature extractor as transformers does."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    extractor = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2, sampling_rate=16_000)
    planned = speech.plan(rng, utterances)
    features = [features_of(extractor, wave) for wave in speech.speak(planned, workers=2)]
    model = Wav2Vec2BertModel(Wav2Vec2BertConfig(**CONFIG, apply_spec_augment=True))
    pretrain(model, features, steps, rng)
    model.config.apply_spec_augment = False
    model.save_pretrained(out)
    extractor.save_pretrained(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")


def features_of(extractor: SeamlessM4TFeatureExtractor, wave: np.ndarray) -> Tensor:
    """Return the model's input for one utterance, shape ``(n_frames, 160)``."""
    return extractor(wave, sampling_rate=16_000, return_tensors="pt", padding=False)["input_features"][0]


def pretrain(model: Wav2Vec2BertModel, features: list[Tensor], steps: int, rng: np.random.Generator) -> None:
    """Minimise the absolute error of the masked frames."""
    head = nn.Linear(model.config.hidden_size, features[0].shape[1])
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warm_up_and_decay(s, WARM_UP_STEPS, steps))
    batches = like_long([len(each) for each in features], BATCH, rng)
    model.train()
    started, losses = time.monotonic(), []
    for step in range(steps):
        batch = [features[i] for i in next(batches)]
        inputs = nn.utils.rnn.pad_sequence(batch, batch_first=True)
        valid = torch.arange(inputs.shape[1]) < torch.tensor([len(each) for each in batch])[:, None]
        masked = torch.stack([_mask(inputs.shape[1], len(each), rng) for each in batch])
        hidden = model(inputs, attention_mask=valid.long(), mask_time_indices=masked).last_hidden_state
        loss = (head(hidden[masked]) - inputs[masked]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 99:
            took_s = time.monotonic() - started
            print(f"step {step + 1}: error {np.mean(losses[-100:]):.4f}, {took_s:.0f} s", flush=True)


def _mask(width: int, n_frames: int, rng: np.random.Generator) -> Tensor:
    """Return which frames are hidden, shape ``(width,)``, none of them padding."""
    mask = torch.zeros(width, dtype=torch.bool)
    while mask.sum() < MASKED_SHARE * n_frames:
        begin = int(rng.integers(n_frames))
        mask[begin : min(n_frames, begin + int(rng.integers(*MASKED_FRAMES)))] = True
    return mask
