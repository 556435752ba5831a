"""Late fusion, a baseline of Chochlakis et al., section 4.3: concatenated CLS vectors of a transformer a modality."""

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared
from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.params.network import MixerSettings


class Late(nn.Module):
    """Concatenated CLS vectors of each modality's own transformer; zeros for an absent modality.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: those of each transformer
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.transformers = nn.ModuleDict(
            {name: SharedTransformer({name: width}, settings) for name, width in widths.items()}
        )
        self.cls_width = settings.width
        self.width = self.cls_width * len(widths)

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        frames = cleared(frames)
        some = next(iter(frames.values()))
        parts = []
        for name, transformer in self.transformers.items():
            cls = transformer.cls.new_zeros(len(some.mask), self.cls_width)
            if name in frames:
                (rows,) = frames[name].present.nonzero(as_tuple=True)
                present = transformer({name: frames[name].of(rows)})
                cls = cls.to(present).index_copy(0, rows, present)
            parts.append(cls)
        return torch.cat(parts, dim=1)
