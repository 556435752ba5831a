"""Attention over modalities, one weight a modality and utterance: section 2.3 of "Multimodal emotion recognition with
acoustic adaptation and visual alignment" (MER2024).

The paper has a softmax over the modalities, as here; the published code of the challenge's baseline has none.
"""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared, pooled, pooled_width
from pipeline_lib.params.network import MixerSettings


class ModalityAttention(nn.Module):
    """Pooled modalities through two fully connected layers each to one width, then their mean under learned weights.

    The softmax is over the modalities that the utterance has: an absent one has weight 0.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``width``, ``pooling``, ``dropout``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.pooling, self.width = settings.pooling, settings.width
        self.layers = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(pooled_width(settings.pooling, width), self.width),
                    nn.ReLU(),
                    nn.Dropout(settings.dropout),
                    nn.Linear(self.width, self.width),
                    nn.ReLU(),
                )
                for name, width in widths.items()
            }
        )
        self.score = nn.Linear(self.width, 1)

    def weights(self, frames: dict[str, Frames]) -> Tensor:
        """Return each modality's weight, shape ``(batch, n_modalities)``, in [0, 1]; rows sum to 1.

        Args:
            frames: by modality, the columns' order
        """
        return self._weights(*self._stacked(cleared(frames)))

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        h, present = self._stacked(cleared(frames))
        return torch.einsum("bmw,bm->bw", h, self._weights(h, present))  # z = h alpha

    def _stacked(self, frames: dict[str, Frames]) -> tuple[Tensor, Tensor]:
        vectors = [self.layers[name](pooled(part, self.pooling)) for name, part in frames.items()]
        present = torch.stack([part.present for part in frames.values()], dim=1)
        return torch.stack(vectors, dim=1), present  # equation 8

    def _weights(self, h: Tensor, present: Tensor) -> Tensor:
        return self.score(h)[..., 0].masked_fill(~present, -torch.inf).softmax(dim=1)  # equation 9
