"""Kaldi-compatible log mel filterbank features in torch, as w2v-BERT 2.0 was trained on.

The same numbers as transformers' SeamlessM4TFeatureExtractor (25-ms frames every 10 ms, DC removed, pre-emphasis 0.97,
povey window, 80 triangles on Kaldi's mel scale from 20 to 8,000 Hz, natural logarithm), but all frames of all
utterances go through one Fourier transform. Where the two differ: mean and variance of a band are summed here in
float64, there in float32; a band that is constant is therefore exactly 0 here. The difference stays below 2e-4.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000  # Hz
FRAME, HOP, FFT = 400, 160, 512  # samples
FLOOR = 1.192092955078125e-07  # of a band's energy, before the logarithm
BLOCK = 512  # frames that go through the Fourier transform at once, few enough to stay in cache


def n_frames(n_samples: int) -> int:
    """Return the number of whole frames of 25 ms every 10 ms.

    Args:
        n_samples: at 16 kHz
    """
    return max(0, 1 + (n_samples - FRAME) // HOP)


def check_lengths(waveforms: Sequence[np.ndarray], minimum_samples: int) -> None:
    """Refuse a waveform that is shorter than one frame.

    Args:
        waveforms: each of shape ``(n_samples,)``
        minimum_samples: of one frame

    Raises:
        ValueError: a waveform is shorter
    """
    for i, waveform in enumerate(waveforms):
        if len(waveform) < minimum_samples:
            length_ms = 1000 * minimum_samples / SAMPLE_RATE
            raise ValueError(
                f"waveform {i} has {len(waveform)} samples, one frame needs {minimum_samples}"
                f" ({length_ms:g} ms at 16 kHz)"
            )


class KaldiFilterbank:
    """Log mel energies in natural logarithm; the input is scaled to 16-bit integers as Kaldi expects."""

    def __init__(self, n_bands: int = 80) -> None:
        """Make the window and the triangles.

        Args:
            n_bands: mel bands
        """
        self.n_bands = n_bands
        hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(FRAME, dtype=torch.float64) / (FRAME - 1))
        self.window = hann**0.85
        self.filters = triangles(n_bands, 20.0, SAMPLE_RATE / 2)  # (FFT // 2 + 1, n_bands)

    def __call__(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the features of each waveform.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)`` with at least one frame

        Returns:
            one tensor a waveform, float64, shape ``(n_frames, n_bands)``
        """
        counts = [n_frames(len(waveform)) for waveform in waveforms]
        energies = torch.cat([block for waveform in waveforms for block in self._energies(waveform)])
        return list(energies.clamp_(min=FLOOR).log_().split(counts))

    def _energies(self, waveform: np.ndarray) -> Iterator[Tensor]:
        """Yield band energies of a waveform's frames, each of shape ``(up to BLOCK, n_bands)``.

        Less its mean m and pre-emphasised, sample i of a frame is x[i] - 0.97 x[i-1] - 0.03 m, the first one
        0.03 (x[0] - m): all but the mean is worked out once a waveform, not for each of the overlapping frames.
        """
        samples = torch.from_numpy(np.asarray(waveform, np.float64)) * 2.0**15
        emphasised = torch.cat([samples[:1], samples[1:] - 0.97 * samples[:-1]]).unfold(0, FRAME, HOP)
        buffer = samples.new_zeros(min(BLOCK, len(emphasised)), FFT)
        for block, frames in zip(emphasised.split(BLOCK), samples.unfold(0, FRAME, HOP).split(BLOCK), strict=True):
            filled = buffer[: len(block)]
            means = frames.mean(dim=1, keepdim=True)
            torch.sub(block, 0.03 * means, out=filled[:, :FRAME])
            filled[:, :1] = 0.03 * (frames[:, :1] - means)
            filled[:, :FRAME] *= self.window
            spectrum = torch.view_as_real(torch.fft.rfft(filled)).square_()
            yield (spectrum[..., 0] + spectrum[..., 1]) @ self.filters


def standardise(features: Tensor) -> Tensor:
    """Return features with mean 0 and sample variance 1 in each band, float32, shape ``(n_frames, n_bands)``.

    Args:
        features: of that shape, at least two frames
    """
    centred = features - features.mean(dim=0)
    variance = centred.square().sum(dim=0) / (len(features) - 1)
    return (centred / torch.sqrt(variance + 1e-7)).float()


def stack(features: Sequence[Tensor], stride: int = 2) -> tuple[Tensor, Tensor]:
    """Return a batch in which ``stride`` neighbouring frames are one; a rest shorter than that is left out.

    Args:
        features: one tensor an utterance, shape ``(n_frames, n_bands)``
        stride: frames in a stacked one

    Returns:
        features of shape ``(batch, time, stride * n_bands)``, zero in the padding, and their mask, int64, shape
        ``(batch, time)``
    """
    lengths = [len(feature) // stride for feature in features]
    batch = features[0].new_zeros(len(features), max(lengths), stride * features[0].shape[1])
    mask = torch.zeros(len(features), max(lengths), dtype=torch.int64)
    for i, (feature, length) in enumerate(zip(features, lengths, strict=True)):
        batch[i, :length] = feature[: length * stride].reshape(length, -1)
        mask[i, :length] = 1
    return batch, mask


def triangles(n_bands: int, low_hz: float, high_hz: float) -> Tensor:
    """Return triangles that are straight on the mel scale, as Kaldi's and VGGish's are.

    Args:
        n_bands: their number
        low_hz: lower corner of the first, in Hz
        high_hz: upper corner of the last, in Hz

    Returns:
        float64, shape ``(FFT // 2 + 1, n_bands)``
    """
    low, high = _mel(torch.tensor(low_hz, dtype=torch.float64)), _mel(torch.tensor(high_hz, dtype=torch.float64))
    corners = low + (high - low) / (n_bands + 1) * torch.arange(n_bands + 2, dtype=torch.float64)
    bins = _mel(torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log(1.0 + hertz / 700.0)
