"""Positions of tokens: rotary (Su et al. 2021) and absolute sinusoids (Vaswani et al. 2017).

Positions are counted within an utterance over the tokens that it has, so that padding and absent modalities shift none.
Angles are computed in float64: in float32 a position of 1500 would be off by 1e-4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SLOWEST = 10_000.0  # both papers' base of the wavelengths


@dataclass(frozen=True)
class Rotation:
    """Rotation of each pair of a head's components (i, i + d/2) by an angle that grows with the token's position.

    RoFormer, equation 34; it pairs neighbours (2i, 2i + 1), which is the same up to the order of the components. The
    product of a rotated query and a rotated key depends on the distance of their positions alone.

    Attributes:
        cosine, sine: of the angles, shape ``(batch, 1, time, d/2)``
    """

    cosine: Tensor
    sine: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the rotated vectors, shape ``(batch, heads, time, d)``.

        Args:
            vectors: queries or keys of that shape
        """
        first, second = vectors.chunk(2, dim=-1)
        cosine, sine = self.cosine.to(vectors), self.sine.to(vectors)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def position_ids(mask: Tensor) -> Tensor:
    """Return the number of tokens before each token, int64, shape ``(batch, time)``.

    Args:
        mask: True where a token exists, bool, shape ``(batch, time)``
    """
    return (mask.cumsum(dim=1) - 1).clamp_min(0)


def rotation(ids: Tensor, width: int) -> Rotation:
    """Return the rotation of tokens by their positions.

    Args:
        ids: positions, int64, shape ``(batch, time)``
        width: of a head, even
    """
    angles = _angles(ids, width)[:, None]
    return Rotation(angles.cos().float().to(ids.device), angles.sin().float().to(ids.device))


def sinusoids(ids: Tensor, width: int) -> Tensor:
    """Return the absolute position vectors that are added to tokens, float32, shape ``(batch, time, width)``.

    Sines at the even components and cosines at the odd ones.

    Args:
        ids: positions, int64, shape ``(batch, time)``
        width: of a token, even
    """
    angles = _angles(ids, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(2).float().to(ids.device)


def _angles(ids: Tensor, width: int) -> Tensor:
    """Return position / 10000^(2i / width) on the CPU, float64, shape ``(batch, time, width / 2)``."""
    frequencies = SLOWEST ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return ids.cpu()[..., None] * frequencies  # not every accelerator has float64
