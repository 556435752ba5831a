"""Self-attention over the concatenated sequences of the modalities, or within each: 3M-SER, and MERSA without its
cross-attention.

Phan et al., "3M-SER", as MERSA, section V-A, takes it up: multi-head attention over the joined sequences. MERSA,
section IV-B, equation 2: a linear layer to one width, layer norm, and multi-head attention within each modality.
Neither publishes a residual: there are none.
"""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared, pooled, pooled_width
from pipeline_lib.networks.mixers.attention import AlignedWidths, MultiHeadAttention
from pipeline_lib.params.network import MixerSettings


class SelfAttention(nn.Module):
    """Linear layer, layer norm where ``norm``, attention ``together`` or ``apart``, pooling.

    Together, an absent modality is a sequence without frames and the width is one modality's. Apart, the pooled
    modalities are concatenated, zeros for an absent one.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``attend``, ``width``, ``norm``, ``heads``, ``dropout``, ``pooling``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.modalities, self.pooling = tuple(widths), settings.pooling
        self.together = settings.attend == "together"
        self.aligned = AlignedWidths(widths, settings.width, settings.norm)
        names = ("together",) if self.together else self.modalities
        self.attention = nn.ModuleDict(
            {name: MultiHeadAttention(settings.width, settings.heads, settings.dropout) for name in names}
        )
        self.pooled = pooled_width(settings.pooling, settings.width)
        self.width = self.pooled * len(names)

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        frames = {name: Frames(self.aligned(name, part.values), part.mask) for name, part in cleared(frames).items()}
        if self.together:
            values = torch.cat([part.values for part in frames.values()], dim=1)
            joined = Frames(values, torch.cat([part.mask for part in frames.values()], dim=1))
            return pooled(self._attended("together", joined), self.pooling)
        some = next(iter(frames.values())).values
        parts = [
            pooled(self._attended(name, frames[name]), self.pooling)
            if name in frames
            else some.new_zeros(len(some), self.pooled)
            for name in self.modalities
        ]
        return torch.cat(parts, dim=1)

    def _attended(self, name: str, frames: Frames) -> Frames:
        return Frames(self.attention[name](frames.values, frames.values, frames.mask), frames.mask).cleared()
