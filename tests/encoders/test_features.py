"""Kaldi filterbanks against transformers' extractor and against values known beforehand."""

import numpy as np
import pytest
import torch
from transformers import SeamlessM4TFeatureExtractor

from pipeline_lib.encoders.features import FLOOR, KaldiFilterbank, n_frames, stack, standardise
from pipeline_lib.encoders.speech import Filterbanks


def speech_like(seed: int, n: int) -> np.ndarray:
    """Return harmonics under a slow envelope with a little noise, as voiced speech has them."""
    noise, t = np.random.default_rng(seed), np.arange(n) / 16_000
    pitch = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 1.3 * t)) / 16_000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 20)) * (0.05 + 0.2 * np.abs(np.sin(2 * np.pi * 2 * t)))
    return (voice + 0.003 * noise.standard_normal(n)).astype(np.float32)


def test_equal_to_transformers_extractor_with_its_padding_and_normalisation():
    waveforms = [speech_like(i, n) for i, n in enumerate([16_000, 9_123, 24_001, 560, 4_960])]
    waveforms[2][:5_000] = 0  # digital silence
    theirs = SeamlessM4TFeatureExtractor()(waveforms, sampling_rate=16_000, return_tensors="pt")
    ours = Filterbanks()(waveforms)
    assert torch.equal(ours["attention_mask"], theirs["attention_mask"].long())
    kept = ours["attention_mask"].bool()
    assert (ours["input_features"] - theirs["input_features"])[kept].abs().max() <= 2e-4
    assert ours["input_features"][~kept].abs().sum() == 0


def test_other_band_counts_are_the_same_triangles():
    waveform = speech_like(3, 8_000)
    theirs = SeamlessM4TFeatureExtractor(feature_size=40, num_mel_bins=40)([waveform], sampling_rate=16_000)
    ours = Filterbanks(n_bands=40)([waveform])
    np.testing.assert_allclose(ours["input_features"][0].numpy(), theirs["input_features"][0], atol=2e-4)


def test_silence_is_the_logarithm_of_the_floor():
    (made,) = KaldiFilterbank()([np.zeros(1_000, np.float32)])
    assert made.shape == (4, 80)
    assert torch.equal(made, torch.full((4, 80), float(np.log(FLOOR)), dtype=torch.float64))
    assert torch.equal(standardise(made), torch.zeros(4, 80))


def test_a_long_waveform_is_the_same_as_its_parts():
    # 1,300 frames are three blocks of the Fourier transform; frame 700 begins at sample 112,000
    waveform = speech_like(5, 400 + 160 * 1_299)
    (whole,) = KaldiFilterbank()([waveform])
    (tail,) = KaldiFilterbank()([waveform[112_000:]])
    assert len(whole) == 1_300
    torch.testing.assert_close(whole[701:], tail[1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_whole_frames_only(n, frames):
    assert n_frames(n) == frames


def test_a_rest_shorter_than_the_stride_is_left_out():
    batch, mask = stack([torch.arange(10.0).reshape(5, 2), torch.arange(4.0).reshape(2, 2)], stride=2)
    assert batch.tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[0, 1, 2, 3], [0, 0, 0, 0]]]
    assert mask.tolist() == [[1, 1], [1, 0]]
