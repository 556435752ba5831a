"""What a training step reads of a network: the outputs of one combination, and the arguments of auxiliary losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.presence import present_of

Auxiliary = Literal["aligned", "reconstruction", "imagination", "invariance"]
Contextual = dict[str, tuple[Tensor, Frames]]  # by modality: rows, tokens of the unimodal pass


@dataclass(frozen=True)
class Pass:
    """The forward pass of one combination.

    Attributes:
        rows: indices within the batch of the utterances that took part, int64, shape ``(n,)``
        outputs: the head's, each of shape ``(n, ...)``
    """

    rows: Tensor
    outputs: dict[str, Tensor]


def aligned(
    mixer: Any, frames: Mapping[str, Frames], modalities: Sequence[str], contextual: Contextual
) -> tuple[Tensor, Tensor]:
    """Return the arguments of the contrastive loss.

    Args:
        mixer: a shared transformer
        frames: by modality
        modalities: in order
        contextual: unimodal passes that have run; the others run here

    Returns:
        vectors of the unimodal passes, shape ``(batch, modalities, width)``, zeros where an utterance lacks the
        modality; which it has, bool, shape ``(batch, modalities)``
    """
    present, vectors = present_of(frames, modalities), []
    for i, name in enumerate(modalities):
        (rows,) = present[:, i].nonzero(as_tuple=True)
        if not len(rows):
            vectors.append(mixer.cls.new_zeros(len(present), mixer.width))
            continue
        if name not in contextual:
            contextual[name] = rows, mixer.contextual({name: frames[name].of(rows)})[1][name]
        z = mixer.align(contextual[name][1])
        vectors.append(z.new_zeros(len(present), z.shape[1]).index_copy(0, contextual[name][0], z))
    return torch.stack(vectors, dim=1), present


def invariance(mixer: Any, frames: Mapping[str, Frames], modalities: Sequence[str]) -> tuple[Tensor, Tensor, float]:
    """Return the arguments of the invariance loss.

    Args:
        mixer: one that imagines
        frames: by modality
        modalities: in order

    Returns:
        invariant vectors, shape ``(batch, modalities, width)``; which modalities an utterance has, bool, shape
        ``(batch, modalities)``; the number by which cosines are divided
    """
    vectors = mixer.invariant(frames)
    nothing = torch.zeros_like(next(iter(vectors.values())))
    stacked = torch.stack([vectors.get(name, nothing) for name in modalities], dim=1)
    return stacked, present_of(frames, modalities), mixer.settings.temperature


def reconstruction(
    mixer: Any, masked: Mapping[str, Mapping[str, Frames]], generator: torch.Generator | None
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Return the arguments of the reconstruction loss by pass and modality.

    Args:
        mixer: a shared transformer
        masked: frames by pass and modality
        generator: of the masks; None takes torch's own

    Returns:
        estimate and target, shape ``(n, time, width)``, and mask, bool, shape ``(n, time)``
    """
    rebuilt = {name: mixer.reconstruct(frames, generator) for name, frames in masked.items()}
    return {
        f"{name} {modality}": (part.estimate, part.target, part.mask)
        for name, by_modality in rebuilt.items()
        for modality, part in by_modality.items()
    }
