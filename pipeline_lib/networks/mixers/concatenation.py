"""Concatenation of the pooled modalities: de Oliveira et al., section 2.2, and SERVER."""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared, pooled, pooled_width
from pipeline_lib.params.network import MixerSettings


class Concatenation(nn.Module):
    """Concatenated pooled vectors; zeros for an absent modality, from which the head learns nothing.

    Zeros are our choice, not published: a learned vector would be trained only where modalities are missing in
        training,
    and be noise where they are not.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``pooling``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.widths = {name: pooled_width(settings.pooling, width) for name, width in widths.items()}
        self.pooling = settings.pooling
        self.width = sum(self.widths.values())

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        frames = cleared(frames)
        some = next(iter(frames.values())).values
        parts = [
            pooled(frames[name], self.pooling) if name in frames else some.new_zeros(len(some), width)
            for name, width in self.widths.items()
        ]
        return torch.cat(parts, dim=1)  # P_{A+T}, section 2.2
