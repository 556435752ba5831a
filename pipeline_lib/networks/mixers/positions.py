"""Where a token stands: rotary positions (Su et al. 2021) and absolute sinusoids (Vaswani et al. 2017).

Places are counted within an utterance over the tokens that it has, so that padding and absent modalities move none.
Angles are computed in float64: in float32 a place of 1500 would be off by 1e-4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SLOWEST = 10_000.0  # both papers' base of the wavelengths


@dataclass(frozen=True)
class Rotation:
    """Turns each pair of a head's components (i, i + d/2) by an angle that grows with the token's place.

    RoFormer, equation 34; it pairs neighbours (2i, 2i + 1), which is the same up to the order of the components. The
    product of a turned query and a turned key depends on the distance of their places alone.

    Attributes:
        cosine, sine: of the angles, shape ``(batch, 1, time, d/2)``
    """

    cosine: Tensor
    sine: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the vectors, shape ``(batch, heads, time, d)``, turned."""
        first, second = vectors.chunk(2, dim=-1)
        cosine, sine = self.cosine.to(vectors), self.sine.to(vectors)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def places(mask: Tensor) -> Tensor:
    """Return how many tokens stand before each token, int64, shape ``(batch, time)``."""
    return (mask.cumsum(dim=1) - 1).clamp_min(0)


def rotation(places: Tensor, width: int) -> Rotation:
    """Return the rotation of tokens at these places, shape ``(batch, time)``, in heads of that width."""
    angles = _angles(places, width)[:, None]
    return Rotation(angles.cos().float().to(places.device), angles.sin().float().to(places.device))


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Return what is added to tokens at these places, float32, shape ``(batch, time, width)``.

    Sines at the even components and cosines at the odd ones.
    """
    angles = _angles(places, width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(2).float().to(places.device)


def _angles(places: Tensor, width: int) -> Tensor:
    """Return place / 10000^(2i / width) on the CPU, float64, shape ``(batch, time, width / 2)``."""
    frequencies = SLOWEST ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return places.cpu()[..., None] * frequencies  # not every accelerator has float64
