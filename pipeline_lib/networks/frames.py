"""The frames of one modality, and how they become one vector an utterance."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """A batch of frames or tokens; an utterance that lacks the modality has no True in its row of the mask.

    Attributes:
        values: shape ``(batch, time, width)``; undefined where the mask is False, NaN and inf included
        mask: True where a frame is the utterance's own, bool, shape ``(batch, time)``
    """

    values: Tensor
    mask: Tensor

    @property
    def present(self) -> Tensor:
        """Return which utterances have the modality, bool, shape ``(batch,)``."""
        return self.mask.any(dim=1)

    def of(self, rows: Tensor) -> "Frames":
        """Return the frames of some utterances.

        Args:
            rows: their indices, int64, shape ``(n,)``, or a mask, bool, shape ``(batch,)``
        """
        return Frames(self.values[rows], self.mask[rows])

    def cleared(self) -> "Frames":
        """Return the frames with zeros where the mask is False, from where no gradient comes back either."""
        return Frames(self.values.masked_fill(~self.mask[..., None], 0.0), self.mask)


def cleared(frames: Mapping[str, Frames]) -> dict[str, Frames]:
    """Return each modality's frames with zeros where the mask is False: every mixer's first step.

    A modality that no utterance of the batch has is left out.

    Args:
        frames: by modality

    Raises:
        ValueError: an utterance has no frame in any modality
    """
    absent = ~torch.stack([part.present for part in frames.values()]).any(dim=0)
    if bool(absent.any()):
        named = ", ".join(frames)
        raise ValueError(f"utterances at {absent.nonzero()[:, 0].tolist()} of the batch have no frame of {named}")
    return {name: part.cleared() for name, part in frames.items() if bool(part.mask.any())}


def pooled(frames: Frames, kind: str) -> Tensor:
    """Return one vector an utterance, shape ``(batch, pooled_width(kind, width))``; zeros where it has no frame.

    De Oliveira et al., section 2.1, pool by "average- and max-pooling" and give the result the width of one frame:
    that is ``mean_max_sum``; ``mean_max`` is their concatenation, twice as wide.

    Args:
        frames: one modality's, cleared
        kind: mean, mean_max_sum or mean_max
    """
    values = frames.values.float()  # under autocast they may be half as precise
    mean = values.sum(dim=1) / frames.mask.sum(dim=1, keepdim=True).clamp_min(1)
    if kind == "mean":
        return mean
    highest = values.masked_fill(~frames.mask[..., None], -torch.inf)
    highest = highest.amax(dim=1).masked_fill(~frames.present[:, None], 0.0)
    match kind:
        case "mean_max_sum":
            return mean + highest
        case "mean_max":
            return torch.cat([mean, highest], dim=1)
    raise ValueError(f"pooling is {kind!r}, expected mean, mean_max_sum or mean_max")


def pooled_width(kind: str, width: int) -> int:
    """Return the width of ``pooled``'s vectors.

    Args:
        kind: mean, mean_max_sum or mean_max
        width: of a frame
    """
    return 2 * width if kind == "mean_max" else width
