"""Whisper's encoder: log mels by the checkpoint's own parameters, windows of 30 s or of a clip's true length."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperModel

from pipeline_lib.encoders.features import SAMPLE_RATE, check_lengths
from pipeline_lib.encoders.hidden import valid
from pipeline_lib.errors import InputError

HOP = 160  # samples between mel frames
FRAME = 2 * HOP  # samples between hidden states: the second convolution has stride 2


class WhisperWindows:
    """Log mels of windows of 30 s, the last one filled with zeros, or as long as what is left of the clip."""

    def __init__(self, extractor: WhisperFeatureExtractor, positions: int, *, true_length: bool = False) -> None:
        """Wrap transformers' extractor.

        Args:
            extractor: makes the log mels
            positions: frames of a window after the encoder's convolutions, 1,500
            true_length: leave the zeros out but for those up to a whole frame
        """
        self.extractor, self.positions, self.true_length = extractor, positions, true_length

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return the log mels of all windows, and lengths in frames.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)``

        Returns:
            ``input_features`` float32 ``(windows, mels, time)``, ``lengths`` of the waveforms int64 ``(batch,)`` and
            ``window_lengths`` int64 ``(windows,)``

        Raises:
            ValueError: a waveform is empty
        """
        check_lengths(waveforms, 1)
        window = self.positions * FRAME
        cut = [
            np.asarray(x[start : start + window], np.float32) for x in waveforms for start in range(0, len(x), window)
        ]
        lengths, windows = (torch.tensor([-(-len(x) // FRAME) for x in arrays]) for arrays in (waveforms, cut))
        if self.true_length:
            mels = [self._mels([x], FRAME * n)[0].T for x, n in zip(cut, windows.tolist(), strict=True)]
            made = pad_sequence(mels, batch_first=True).transpose(1, 2)
        else:
            made = self._mels(cut, window)
        return {"input_features": made, "lengths": lengths, "window_lengths": windows}

    def _mels(self, waveforms: list[np.ndarray], samples: int) -> Tensor:
        return self.extractor(waveforms, sampling_rate=SAMPLE_RATE, max_length=samples, return_tensors="pt")[
            "input_features"
        ]


class TrueLengthEncoder(WhisperEncoder):
    """Whisper's encoder on windows of any length up to 30 s; values behind a window's length have no effect."""

    def forward(self, input_features: Tensor, lengths: Tensor, **_: Any) -> BaseModelOutput:
        """Return the last hidden state, shape ``(windows, time, width)``.

        Args:
            input_features: shape ``(windows, mels, 2 * time)``
            lengths: frames of each window after the convolutions, int64, shape ``(windows,)``
        """
        own = valid(2 * lengths, input_features.shape[2])[:, None]
        hidden = functional.gelu(self.conv1(input_features.masked_fill(~own, 0.0)))
        hidden = functional.gelu(self.conv2(hidden.masked_fill(~own, 0.0))).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        hidden = functional.dropout(hidden, p=self.dropout, training=self.training)
        own, mask = valid(lengths, hidden.shape[1]), None
        if not bool(own.all()):
            mask = hidden.new_zeros(own.shape).masked_fill(~own, torch.finfo(hidden.dtype).min)[:, None, None]
        for layer in self.layers:
            if not (self.training and self.layerdrop > 0.0 and torch.rand([]) < self.layerdrop):
                hidden = layer(hidden, mask)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden))


def of_true_length(encoder: WhisperEncoder) -> TrueLengthEncoder:
    """Return an encoder of windows of any length, with the weights of one of 30 s."""
    with torch.device("meta"):
        made = TrueLengthEncoder(encoder.config)
    made.load_state_dict(encoder.state_dict(), assign=True)
    return made.eval()


def extractor_of(settings: Mapping[str, Any], config: WhisperConfig, checkpoint: str) -> WhisperFeatureExtractor:
    """Return the extractor of the log mels, by the checkpoint's preprocessor_config.json.

    Args:
        settings: values of that file
        config: of the model
        checkpoint: its name, for the message

    Raises:
        InputError: its model does not take such log mels
    """
    bands, n_fft = settings.get("feature_size", config.num_mel_bins), settings.get("n_fft", 400)
    for name, value, expected in (
        ("feature_size", bands, config.num_mel_bins),
        ("hop_length", settings.get("hop_length", HOP), HOP),
        ("dither", settings.get("dither", 0.0), 0.0),
    ):
        if value != expected:
            raise InputError(
                f"{checkpoint}: preprocessor_config.json has {name} {value!r}, its model and this pipeline take"
                f" {expected!r} (is the file of another checkpoint?)"
            )
    if not isinstance(n_fft, int) or n_fft < 2:
        raise InputError(f"{checkpoint}: preprocessor_config.json has n_fft {n_fft!r}, expected a whole number above 1")
    extractor = WhisperFeatureExtractor(feature_size=bands, n_fft=n_fft)
    if settings.get("mel_filters") is not None:
        try:
            filters = np.array(settings["mel_filters"], dtype=np.float64)
        except (TypeError, ValueError):
            filters = np.zeros(0)
        if filters.shape != (bands, 1 + n_fft // 2) or not np.isfinite(filters).all():
            raise InputError(
                f"{checkpoint}: preprocessor_config.json has mel_filters of shape {filters.shape}, expected"
                f" {(bands, 1 + n_fft // 2)} finite numbers"
            )
        extractor.mel_filters = filters.T
    return extractor


def masked(encoder: nn.Module, features: Tensor, lengths: Tensor) -> Tensor:
    """Return log mels under SpecAugment, shape ``(windows, mels, time)``, as transformers' WhisperModel masks them,
    which its encoder alone does not.

    Args:
        encoder: with ``config`` and ``training``
        features: shape ``(windows, mels, time)``
        lengths: frames of each window after the convolutions, int64, shape ``(windows,)``
    """
    own = valid(2 * lengths, features.shape[2]).long()
    return WhisperModel._mask_input_features(encoder, features.clone(), own)
