"""Self-attention within each modality, then cross-attention both ways: MERSA, section IV-B.

The paper's figure, not its text, shows the input of the cross-attention: here it is the self-attended frames, without
residuals.
"""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared, pooled, pooled_width
from pipeline_lib.networks.mixers.attention import AlignedWidths, MultiHeadAttention
from pipeline_lib.params.network import MixerSettings


class CrossAttention(nn.Module):
    """Linear layer, layer norm where ``norm``, self-attention, cross-attention, pooling, concatenation.

    Each modality queries all others. In an utterance that has no other, its self-attended frames are pooled instead;
    the vector of an absent modality is zero.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``width``, ``norm``, ``heads``, ``dropout``, ``pooling``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.modalities, self.pooling = tuple(widths), settings.pooling
        self.aligned = AlignedWidths(widths, settings.width, settings.norm)
        self.self_attention, self.cross_attention = (
            nn.ModuleDict(
                {name: MultiHeadAttention(settings.width, settings.heads, settings.dropout) for name in widths}
            )
            for _ in range(2)
        )
        self.pooled = pooled_width(settings.pooling, settings.width)
        self.width = self.pooled * len(widths)

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        own = {name: self._within(name, part) for name, part in cleared(frames).items()}  # equation 2
        some = next(iter(own.values())).values
        parts = [
            pooled(self._across(name, own), self.pooling) if name in own else some.new_zeros(len(some), self.pooled)
            for name in self.modalities
        ]
        return torch.cat(parts, dim=1)

    def _within(self, name: str, frames: Frames) -> Frames:
        values = self.aligned(name, frames.values)
        return Frames(self.self_attention[name](values, values, frames.mask), frames.mask).cleared()

    def _across(self, name: str, own: dict[str, Frames]) -> Frames:
        others = [part for other, part in own.items() if other != name]
        if not others:
            return own[name]
        keys, mask = (torch.cat([getattr(part, field) for part in others], dim=1) for field in ("values", "mask"))
        attended = self.cross_attention[name](own[name].values, keys, mask)  # equations 3 and 4
        attended = torch.where(mask.any(dim=1)[:, None, None], attended, own[name].values)
        return Frames(attended, own[name].mask).cleared()
