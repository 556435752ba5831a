"""Convolutional feature extractor of HuBERT, wav2vec 2.0 and WavLM whose group norm leaves the padding out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class PaddingProofExtractor(nn.Module):
    """The convolutional feature extractor, its group norm over each utterance's frames; weights keep their names."""

    def __init__(self, extractor: nn.Module) -> None:
        """Take over the layers of transformers' extractor."""
        super().__init__()
        self.conv_layers = extractor.conv_layers
        self.gradient_checkpointing = False
        self.samples: list[int] = []  # of each utterance of the coming batch; SpeechEncoder sets it

    def _freeze_parameters(self) -> None:  # what transformers' freeze_feature_encoder() calls
        self.requires_grad_(False)

    def forward(self, input_values: Tensor) -> Tensor:
        """Return features of waveforms, shape ``(batch, channels, frames)``.

        Args:
            input_values: shape ``(batch, time)``
        """
        hidden = input_values[:, None]
        for layer in self.conv_layers:
            if not isinstance(getattr(layer, "layer_norm", None), nn.GroupNorm):
                hidden = layer(hidden)
            elif layer.gradient_checkpointing and self.training:  # not the layer's own way: it cannot carry the lengths
                hidden = checkpoint(_group_norm_layer, layer, hidden, self.samples, use_reentrant=False)
            else:
                hidden = _group_norm_layer(layer, hidden, self.samples)
        return hidden


def _group_norm_layer(layer: nn.Module, waveforms: Tensor, samples: Sequence[int]) -> Tensor:
    """Return the first convolution, group norm and activation of each utterance alone, zeros behind it.

    The convolution too: batched it rounds differently, and the norm of a quiet recording with a large offset amplifies
    the last digit to 1e-5 of the whole.
    """
    alone = [layer.layer_norm(layer.conv(waveforms[i : i + 1, :, :n])) for i, n in enumerate(samples)]
    longest = max(part.shape[2] for part in alone)
    return layer.activation(torch.cat([functional.pad(part, (0, longest - part.shape[2])) for part in alone]))
