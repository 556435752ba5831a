"""Which utterances have which modalities, and the combinations in which they take part."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline_lib.modalities import BOTH, members
from pipeline_lib.networks.frames import Frames


def present_of(frames: Mapping[str, Frames], modalities: Sequence[str]) -> Tensor:
    """Return which utterances have frames of which modality, bool, shape ``(batch, modalities)``.

    Args:
        frames: by modality, at least one
        modalities: in the order of the columns; one without frames is absent
    """
    nothing = torch.zeros_like(next(iter(frames.values())).present)
    return torch.stack([frames[name].present if name in frames else nothing for name in modalities], dim=1)


def has_all(present: Tensor, modalities: Sequence[str], combination: str) -> Tensor:
    """Return which utterances have every modality of a combination, bool, shape ``(batch,)``.

    Args:
        present: bool, shape ``(batch, modalities)``
        modalities: in the order of its columns
        combination: modalities joined by ``+``, or ``both``, which is all of them
    """
    return present[:, [modalities.index(name) for name in members(combination, modalities)]].all(dim=1)


def taking(present: Tensor, modalities: Sequence[str], combinations: Sequence[str]) -> dict[str, Tensor]:
    """Return the rows that take part in each combination; combinations without any are left out.

    An utterance takes part in a combination of which it has every modality; in ``both`` also where it has any modality
    and takes part in no other combination. So every utterance is trained, and none twice in the same pass.

    Args:
        present: bool, shape ``(batch, modalities)``
        modalities: in the order of its columns
        combinations: modalities joined by ``+``, and ``both``

    Returns:
        by combination, int64, shape ``(n,)``
    """
    chosen = {name: has_all(present, modalities, name) for name in combinations}
    if BOTH in chosen:
        others = [mask for name, mask in chosen.items() if name != BOTH]
        elsewhere = torch.stack(others).any(dim=0) if others else torch.zeros_like(chosen[BOTH])
        chosen[BOTH] = chosen[BOTH] | (present.any(dim=1) & ~elsewhere)
    rows_by_combination = {name: mask.nonzero(as_tuple=True)[0] for name, mask in chosen.items()}
    return {name: rows for name, rows in rows_by_combination.items() if len(rows)}


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
