"""Which utterances have which modalities, and the combinations in which they take part."""

from collections.abc import Sequence

import torch
from torch import Tensor

BOTH = "both"


def taking(present: Tensor, modalities: Sequence[str], combinations: Sequence[str]) -> dict[str, Tensor]:
    """Return the rows that take part in each combination; combinations without any are left out.

    Args:
        present: bool, shape ``(batch, modalities)``
        modalities: in the order of its columns
        combinations: modalities and ``both``

    Returns:
        by combination, int64, shape ``(n,)``
    """
    rows_by_combination = {}
    for name in combinations:
        if name == BOTH:
            own = torch.tensor([modality in combinations for modality in modalities], device=present.device)
            chosen = present.all(dim=1) | (present.any(dim=1) & ~(present & own).any(dim=1))
        else:
            chosen = present[:, modalities.index(name)]
        (rows,) = chosen.nonzero(as_tuple=True)
        if len(rows):
            rows_by_combination[name] = rows
    return rows_by_combination


def drop_modalities(present: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Modality dropout: return ``present`` with one modality less in a share of the utterances that have several.

    Args:
        present: bool, shape ``(batch, modalities)``
        share: probability of each such utterance, in [0, 1]
        generator: None takes torch's own

    Returns:
        bool, shape ``(batch, modalities)``
    """
    device = present.device if generator is None else generator.device
    drawn = torch.rand(len(present), 1 + present.shape[1], generator=generator, device=device).to(present.device)
    chosen = (drawn[:, :1] < share) & (present.sum(dim=1, keepdim=True) > 1)
    first = drawn[:, 1:].masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
    return present & ~(chosen & torch.zeros_like(present).scatter(1, first, True))
