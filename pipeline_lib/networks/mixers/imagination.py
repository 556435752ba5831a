"""Imagination of a missing modality from the other: CIF-MMIN of Liu, Zuo, Lian, Schuller and Li, "Contrastive learning
based modality-invariant feature acquisition for robust multimodal emotion recognition with missing modalities", IEEE
TAC 2024, and its ancestor MMIN of Zhao, Li and Jin, ACL 2021.

Chosen here, since its networks read openSMILE, BERT and faces through LSTMs and convolutions: pooled frames of the
branches' encoders through two linear layers. As in MMIN every autoencoder reads the input plus the outputs of all
earlier ones; in the published code of CIF-MMIN it reads the output of the last one and the invariant vector.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames, cleared, pooled, pooled_width
from pipeline_lib.params.network import MixerSettings


class Cascade(nn.Module):
    r"""Residual autoencoders, each with a linear layer, ReLU and linear layer behind their sum.

    .. math:: \Delta_k = \phi_k(h + \sum_{j < k} \Delta_j), \quad g(h + \sum_k \Delta_k)
    """

    def __init__(self, width: int, widths: Sequence[int], autoencoders: int) -> None:
        """Make the autoencoders.

        Args:
            width: of the input and output vectors
            widths: of an autoencoder's layers, down to its code
            autoencoders: their number
        """
        super().__init__()
        self.autoencoders = nn.ModuleList(_autoencoder([width, *widths]) for _ in range(autoencoders))
        self.transition = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the transformed vectors, shape ``(batch, width)``.

        Args:
            vectors: shape ``(batch, width)``
        """
        for autoencoder in self.autoencoders:
            vectors = vectors + autoencoder(vectors)
        return self.transition(vectors)


class Imagination(nn.Module):
    """Each modality's specific vector, imagined where it is missing, concatenated with the invariant vector.

    The invariant vector of an utterance is the mean of those of its modalities, which a loss draws together.

    Args:
        widths: width of each modality's frames, modalities in order
        settings: ``width``, ``pooling``, ``imagination``
    """

    def __init__(self, widths: dict[str, int], settings: MixerSettings) -> None:
        super().__init__()
        self.modalities, self.pooling = tuple(widths), settings.pooling
        self.settings, width = settings.imagination, settings.width
        pooled_widths = {name: pooled_width(settings.pooling, width_in) for name, width_in in widths.items()}
        self.specificity = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width_in, width), nn.LeakyReLU(), nn.Linear(width, width))
                for name, width_in in pooled_widths.items()
            }
        )
        self.projection = nn.ModuleDict({name: nn.Linear(width_in, width) for name, width_in in pooled_widths.items()})
        self.invariance = nn.Sequential(
            nn.Linear(width, width),
            nn.LeakyReLU(),
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.LeakyReLU(),
        )
        imagined = self.modalities if len(widths) > 1 else ()
        own = self.settings.widths, self.settings.autoencoders
        self.imagination = nn.ModuleDict({name: Cascade(width, *own) for name in imagined})
        self.width = width * (len(widths) + 1)

    def forward(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, shape ``(batch, self.width)``.

        Args:
            frames: by modality
        """
        frames = cleared(frames)
        specific, invariant = self._specific(frames), self._invariant(frames)
        parts = []
        for name in self.modalities:
            if name not in frames:
                parts.append(self._imagined(name, frames, specific, invariant))
                continue
            true, present = specific[name], frames[name].present
            if not bool(present.all()):
                true = torch.where(present[:, None], true, self._imagined(name, frames, specific, invariant))
            parts.append(true)
        return torch.cat([*parts, _mean(frames, invariant)], dim=1)

    def invariant(self, frames: dict[str, Frames]) -> dict[str, Tensor]:
        """Return each modality's invariant vectors, the arguments of the invariance loss.

        Args:
            frames: by modality

        Returns:
            by modality, shape ``(batch, settings.width)``
        """
        return self._invariant(cleared(frames))

    def imagined(self, frames: dict[str, Frames]) -> tuple[Tensor, Tensor]:
        """Return the imagined vectors of present modalities, and the true ones.

        Args:
            frames: by modality

        Returns:
            estimate and target, shape ``(n, settings.width)``: the utterances that have several modalities, once for
            each of them; the target has no gradient
        """
        frames = cleared(frames)
        specific, invariant = self._specific(frames), self._invariant(frames)
        several = torch.stack([part.present for part in frames.values()]).sum(dim=0) > 1
        estimates, targets = [], []
        for name in self.imagination:
            if name in frames and len(frames) > 1:
                rows = several & frames[name].present
                estimates.append(self._imagined(name, frames, specific, invariant)[rows])
                targets.append(specific[name][rows].detach())
        if not estimates:
            none = next(iter(specific.values()))[:0]
            return none, none.detach()
        return torch.cat(estimates), torch.cat(targets)

    def _specific(self, frames: dict[str, Frames]) -> dict[str, Tensor]:
        return {name: self.specificity[name](pooled(part, self.pooling)) for name, part in frames.items()}

    def _invariant(self, frames: dict[str, Frames]) -> dict[str, Tensor]:
        projected = {name: self.projection[name](pooled(part, self.pooling)) for name, part in frames.items()}
        return {name: self.invariance(vectors) for name, vectors in projected.items()}

    def _imagined(
        self, name: str, frames: dict[str, Frames], specific: dict[str, Tensor], invariant: dict[str, Tensor]
    ) -> Tensor:
        others = {modality: part for modality, part in frames.items() if modality != name}
        both = {modality: specific[modality] + invariant[modality] for modality in others}
        return self.imagination[name](_mean(others, both))


def _mean(frames: dict[str, Frames], vectors: dict[str, Tensor]) -> Tensor:
    """Return the mean of the vectors of the modalities that each utterance has; zeros where it has none."""
    present = torch.stack([part.present for part in frames.values()], dim=1)  # (batch, modalities)
    stacked = torch.stack([vectors[name] for name in frames], dim=1)
    total = stacked.masked_fill(~present[..., None], 0.0).sum(dim=1)
    return total / present.sum(dim=1, keepdim=True).clamp_min(1)


def _autoencoder(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers down to the code and back up, leaky ReLU on the way down and ReLU on the way up."""
    layers: list[nn.Module] = []
    for one, other in zip(widths, widths[1:]):
        layers += [nn.Linear(one, other), nn.LeakyReLU()]
    layers.pop()  # the code and the outcome have none
    up = widths[::-1]
    for one, other in zip(up, up[1:]):
        layers += [nn.Linear(one, other), nn.ReLU()]
    layers.pop()
    return nn.Sequential(*layers)
