"""Late fusion, a baseline of Chochlakis et al., section 4.3: a transformer a modality, their CLS side by side."""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared
from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.params.network import MixerSettings


class Late(nn.Module):
    """CLS of each modality's own transformer one behind the other; zeros in the place of an absent modality."""

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.transformers = nn.ModuleDict(
            {name: SharedTransformer({name: width}, settings) for name, width in widths.items()}
        )
        self.each = settings.width
        self.width = self.each * len(widths)

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return ``(batch, self.width)``."""
        frames = cleared(frames)
        some = next(iter(frames.values()))
        parts = []
        for name, transformer in self.transformers.items():
            cls = transformer.cls.new_zeros(len(some.mask), self.each)
            if name in frames:
                (rows,) = frames[name].present.nonzero(as_tuple=True)
                found = transformer({name: frames[name].of(rows)})
                cls = cls.to(found).index_copy(0, rows, found)
            parts.append(cls)
        return torch.cat(parts, dim=1)
