"""A joint expert's network: encoders -> layers -> mixer -> heads; its parts are arguments.

A *combination* is a modality's name or ``both``, all modalities. An utterance takes part in the passes of the
modalities that it has, and in ``both`` where it has all of them; with one alone it takes part in ``both`` only where
that one has no pass of its own. So every utterance is trained, and none twice in the same pass.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.precision import exact
from pipeline_lib.networks.presence import BOTH, drop_modalities, taking
from pipeline_lib.networks.sequence_classification import eval_frozen

SHARED = "shared"

Auxiliary = Literal["aligned", "reconstruction", "imagination", "invariance"]


@dataclass(frozen=True)
class Pass:
    """The forward pass of one combination.

    Attributes:
        rows: indices within the batch of the utterances that took part, int64, shape ``(n,)``
        outputs: the head's, each of shape ``(n, ...)``
    """

    rows: Tensor
    outputs: dict[str, Tensor]


def _in_float32(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of frames that leaves autocast, in which the encoders alone run."""

    @wraps(method)
    def outside(self: nn.Module, frames: dict[str, Frames], *options: Any) -> Any:
        with exact(next(iter(frames.values())).mask.device):
            return method(self, frames, *options)

    return outside


class JointNetwork(nn.Module):
    """Encoders, their layers joined, a mixer, one head or one a combination.

    A part that is not trained, an encoder, the mixer or a head, stays in eval mode, without dropout or masks.
    """

    def __init__(
        self,
        encoder: nn.Module,
        layer_weights: Mapping[str, nn.Module],
        mixer: nn.Module,
        heads: Mapping[str, nn.Module],
        modalities: Sequence[str] = ("audio", "text"),
        modality_dropout: float = 0.0,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: ``(**inputs) -> {modality: Hidden}``, its ``branches`` the encoders by modality
            layer_weights: by modality, ``layers -> (batch, time, width)``; one that is not named takes the last layer
            mixer: ``{modality: Frames} -> (batch, mixed width)``
            heads: ``mixed -> outputs``: ``{"shared": head}``, or one a combination
            modalities: in the order of the columns of ``present``
            modality_dropout: in ``passes`` of training, the share of utterances that lose one modality
        """
        super().__init__()
        self.encoder = encoder
        self.layer_weights = nn.ModuleDict(layer_weights)
        self.mixer = mixer
        self.heads = nn.ModuleDict(heads)
        self.modalities = tuple(modalities)
        self.modality_dropout = modality_dropout

    def train(self, mode: bool = True) -> "JointNetwork":
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        for part in (*self.encoder.branches.values(), self.mixer, *self.heads.values()):
            eval_frozen(part)
        return self

    def forward(
        self, inputs: dict[str, Any], combinations: Sequence[str] | None = None, auxiliary: Iterable[Auxiliary] = ()
    ) -> dict[str, Any]:
        """Return ``outputs``, or ``passes`` where combinations are named.

        Wrappers that share gradients between processes watch this method alone.

        Args:
            inputs: the encoder's, and among them ``present``, bool, shape ``(batch, modalities)``
            combinations: modalities and ``both``; None for ``outputs``
            auxiliary: what auxiliary losses read, see ``passes``
        """
        if combinations is not None:
            return self.passes(inputs, combinations, auxiliary)
        return self.outputs(self.frames(inputs))

    def frames(self, inputs: dict[str, Any]) -> dict[str, Frames]:
        """Return each modality's frames, layers joined, equation 1 of Chochlakis et al.

        Args:
            inputs: the encoder's, and among them ``present``, bool, shape ``(batch, modalities)``

        Raises:
            ValueError: no utterance of the batch has any modality
        """
        hidden, present = self.encoder(**inputs), inputs["present"]
        frames = {}
        with exact(present.device):
            for i, name in enumerate(self.modalities):
                if name in hidden and bool(present[:, i].any()):
                    values = self._joined(name, hidden[name].layers, present[:, i])
                    frames[name] = Frames(values, hidden[name].mask & present[:, i : i + 1])
        if not frames:
            raise ValueError(f"no utterance of the batch has any of {', '.join(self.modalities)}")
        return frames

    @_in_float32
    def outputs(self, frames: dict[str, Frames]) -> dict[str, Tensor]:
        """Return the head's outputs from all modalities that each utterance has, in the order of the batch.

        Of separate heads that of the utterance's combination is taken, or of ``both`` where it has none.

        Args:
            frames: by modality

        Returns:
            by name, each of shape ``(batch, n)``, see ``heads``
        """
        mixed = self.mixer(frames)
        if SHARED in self.heads:
            return self.heads[SHARED](mixed)
        present = self._present(frames)
        whole: dict[str, Tensor] = {}
        for name, rows in self._by_head(present):
            for key, part in self._head(name)(mixed[rows]).items():
                empty = whole.get(key, part.new_zeros(len(mixed), *part.shape[1:]))
                whole[key] = empty.index_copy(0, rows, part)
        return whole

    def views(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return the outputs from all modalities, and from each modality alone; the encoders run once.

        Args:
            inputs: the encoder's, with ``present``, bool, shape ``(batch, modalities)``

        Returns:
            by name, each of shape ``(batch, n)``; those of one modality are named ``audio.logits`` and so on, NaN where
            an utterance lacks it
        """
        frames = self.frames(inputs)
        whole = self.outputs(frames)
        outputs = dict(whole)
        for name in self.modalities:
            outputs |= {f"{name}.{key}": torch.full_like(values, torch.nan) for key, values in whole.items()}
            if name in frames:
                (rows,) = frames[name].present.nonzero(as_tuple=True)
                for key, values in self.outputs({name: frames[name].of(rows)}).items():
                    outputs[f"{name}.{key}"].index_copy_(0, rows, values)
        return outputs

    def passes(
        self,
        inputs: dict[str, Any],
        combinations: Sequence[str],
        auxiliary: Iterable[Auxiliary] = (),
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Return a ``Pass`` for each combination that an utterance takes part in, and the auxiliary losses' arguments.

        The encoders run once.

        Args:
            inputs: the encoder's, with ``present``, bool, shape ``(batch, modalities)``
            combinations: modalities and ``both``
            auxiliary: ``aligned`` and ``reconstruction`` need a mixer that is a shared transformer, ``imagination``
                and ``invariance`` one that imagines
            generator: of the masks and of modality dropout; None takes torch's own

        Returns:
            by combination its ``Pass``, and as far as ``auxiliary`` names them: ``aligned`` (audio, text, both),
            vectors of the unimodal passes, shape ``(batch, width)``, and which utterances have both, bool, shape
            ``(batch,)``; ``reconstruction`` by pass and modality (estimate, target, mask), shapes ``(n, time, width)``
            and ``(n, time)``, from passes of their own, whose masks affect no other pass; ``imagination`` (estimate,
            target), see ``Imagination.imagined``; ``invariance`` (audio, text, both, temperature), vectors as of
            ``aligned``, and the number by which their cosines are divided
        """
        if self.training and self.modality_dropout > 0:
            inputs = inputs | {"present": drop_modalities(inputs["present"], self.modality_dropout, generator)}
        return self._passes(self.frames(inputs), combinations, set(auxiliary), generator)

    @_in_float32
    def _passes(
        self,
        frames: dict[str, Frames],
        combinations: Sequence[str],
        auxiliary: set[Auxiliary],
        generator: torch.Generator | None,
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        contextual: dict[str, tuple[Tensor, Frames]] = {}  # by modality: rows, tokens of the unimodal pass
        parts = self._parts(frames, combinations)
        for name, (rows, chosen) in parts.items():
            if "aligned" in auxiliary and name in self.modalities:
                mixed, tokens = self.mixer.contextual(chosen)
                contextual[name] = rows, tokens[name]
            else:
                mixed = self.mixer(chosen)
            result[name] = Pass(rows, self._head(name)(mixed))
        if "aligned" in auxiliary:
            result["aligned"] = self._aligned(frames, contextual)
        if "reconstruction" in auxiliary:
            of_each = self.mixer.settings.masked_passes == "each"
            masked = {name: part for name, (_, part) in parts.items()} if of_each else {BOTH: frames}
            rebuilt = {name: self.mixer.reconstruct(part, generator) for name, part in masked.items()}
            result["reconstruction"] = {
                f"{name} {modality}": (part.estimate, part.target, part.mask)
                for name, by_modality in rebuilt.items()
                for modality, part in by_modality.items()
            }
        if "imagination" in auxiliary:
            result["imagination"] = self.mixer.imagined(frames)
        if "invariance" in auxiliary:
            result["invariance"] = self._invariance(frames)
        return result

    def _joined(self, name: str, layers: Sequence[Tensor], present: Tensor) -> Tensor:
        if name not in self.layer_weights:
            return layers[-1]
        if bool(present.all()):
            return self.layer_weights[name](layers)
        # a NaN in the rows of an absent modality would reach the gradient of the weights
        (rows,) = present.nonzero(as_tuple=True)
        joined = self.layer_weights[name]([layer[rows] for layer in layers])
        return joined.new_zeros(len(present), *joined.shape[1:]).index_copy(0, rows, joined)

    def _present(self, frames: dict[str, Frames]) -> Tensor:
        some = next(iter(frames.values())).present
        columns = [frames[name].present if name in frames else torch.zeros_like(some) for name in self.modalities]
        return torch.stack(columns, dim=1)  # (batch, modalities)

    def _parts(
        self, frames: dict[str, Frames], combinations: Sequence[str]
    ) -> dict[str, tuple[Tensor, dict[str, Frames]]]:
        """Return by combination the rows that take part and their frames."""
        return {
            name: (rows, {modality: part.of(rows) for modality, part in frames.items() if name in (BOTH, modality)})
            for name, rows in taking(self._present(frames), self.modalities, combinations).items()
        }

    def _aligned(
        self, frames: dict[str, Frames], contextual: dict[str, tuple[Tensor, Frames]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        present, vectors = self._present(frames), []
        for i, name in enumerate(self.modalities):
            (rows,) = present[:, i].nonzero(as_tuple=True)
            if not len(rows):
                vectors.append(self.mixer.cls.new_zeros(len(present), self.mixer.width))
                continue
            if name not in contextual:
                contextual[name] = rows, self.mixer.contextual({name: frames[name].of(rows)})[1][name]
            z = self.mixer.align(contextual[name][1])
            vectors.append(z.new_zeros(len(present), z.shape[1]).index_copy(0, contextual[name][0], z))
        audio, text = vectors
        return audio, text, present.all(dim=1)

    def _invariance(self, frames: dict[str, Frames]) -> tuple[Tensor, Tensor, Tensor, float]:
        vectors = self.mixer.invariant(frames)
        nothing = torch.zeros_like(next(iter(vectors.values())))
        audio, text = (vectors.get(name, nothing) for name in self.modalities)
        return audio, text, self._present(frames).all(dim=1), self.mixer.settings.temperature

    def _head(self, combination: str) -> nn.Module:
        if SHARED in self.heads:
            return self.heads[SHARED]
        if combination in self.heads or BOTH in self.heads:
            return self.heads[combination if combination in self.heads else BOTH]
        raise ValueError(f"combination {combination!r} has no head, expected one of {list(self.heads)}")

    def _by_head(self, present: Tensor) -> list[tuple[str, Tensor]]:
        """Return by combination the rows whose outputs its head gives."""
        rows_by_head = []
        lone = present.sum(dim=1) == 1
        own = {name: lone & present[:, i] for i, name in enumerate(self.modalities)} | {BOTH: ~lone}
        for name, chosen in own.items():
            (rows,) = chosen.nonzero(as_tuple=True)
            if len(rows):
                rows_by_head.append((name, rows))
        return rows_by_head
