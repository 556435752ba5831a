"""An expert's network: encoders -> layers -> pooling or mixer -> heads; its parts are arguments.

An expert of one modality has one encoder, whose frames are pooled; one of several has a mixer. Under autocast the
encoders alone run in bfloat16; what stands on them is in float32.

A *combination* is a set of modalities, see ``modalities``; ``presence.taking`` says which utterances take part in it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.modalities import BOTH, members, parts_of
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.passes import Auxiliary, Contextual, Pass, aligned, invariance, reconstruction
from pipeline_lib.networks.precision import exact
from pipeline_lib.networks.presence import drop_modalities, has_all, present_of, taking
from pipeline_lib.networks.sequence_classification import eval_frozen

SHARED = "shared"


def _in_float32(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of frames that leaves autocast, in which the encoders alone run."""

    @wraps(method)
    def outside(self: nn.Module, frames: dict[str, Frames], *options: Any) -> Any:
        with exact(next(iter(frames.values())).mask.device):
            return method(self, frames, *options)

    return outside


class Network(nn.Module):
    """Encoders, their layers joined, pooling or a mixer, one head or one a combination.

    A part that is not trained, an encoder, the mixer or a head, stays in eval mode, without dropout or masks.

    Attributes:
        modalities: in the order of the columns of ``present``
    """

    def __init__(
        self,
        encoder: nn.Module,
        layer_weights: Mapping[str, nn.Module],
        join: nn.Module,
        heads: Mapping[str, nn.Module],
        modality_dropout: float = 0.0,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: ``(**inputs) -> {modality: Hidden}``, its ``branches`` the encoders by modality, in order
            layer_weights: by modality, ``layers -> (batch, time, width)``; one that is not named takes the last layer
            join: of one modality a pooling, ``(frames, mask) -> (batch, width)``; of several a mixer, ``{modality:
                Frames} -> (batch, width)``
            heads: ``joined -> outputs``: ``{"shared": head}``, or one a combination
            modality_dropout: in ``passes`` of training, the share of utterances that lose one modality
        """
        super().__init__()
        self.encoder = encoder
        self.layer_weights = nn.ModuleDict(layer_weights)
        self.join = join
        self.heads = nn.ModuleDict(heads)
        self.modalities: tuple[str, ...] = tuple(encoder.branches)
        self.modality_dropout = modality_dropout

    def train(self, mode: bool = True) -> "Network":
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        for part in (*self.encoder.branches.values(), self.join, *self.heads.values()):
            eval_frozen(part)
        return self

    def forward(
        self, inputs: dict[str, Any], combinations: Sequence[str] | None = None, auxiliary: Iterable[Auxiliary] = ()
    ) -> dict[str, Any]:
        """Return ``outputs``, or ``passes`` where combinations are named.

        Wrappers that share gradients between processes watch this method alone.

        Args:
            inputs: the encoder's, and among them ``present``, bool, shape ``(batch, modalities)``
            combinations: see ``passes``; None for ``outputs``
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
            ValueError: no utterance of the batch has any modality; of one modality the encoder refuses those without it
        """
        hidden, present = self.encoder(**inputs), inputs["present"]
        if len(self.modalities) == 1:  # nothing here waits for a GPU
            with exact(present.device):
                return {name: Frames(self._layers_joined(name, own.layers), own.mask) for name, own in hidden.items()}
        frames = {}
        with exact(present.device):
            for i, name in enumerate(self.modalities):
                if name in hidden and bool(present[:, i].any()):
                    values = self._layers_joined(name, hidden[name].layers, present[:, i])
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
        joined = self.joined(frames)
        if SHARED in self.heads:
            return self.heads[SHARED](joined)
        whole: dict[str, Tensor] = {}
        for name, rows in self._by_head(present_of(frames, self.modalities)):
            for key, part in self._head(name)(joined[rows]).items():
                empty = whole.get(key, part.new_zeros(len(joined), *part.shape[1:]))
                whole[key] = empty.index_copy(0, rows, part)
        return whole

    def joined(self, frames: dict[str, Frames]) -> Tensor:
        """Return one vector an utterance, pooled or mixed, shape ``(batch, join.width)``.

        Args:
            frames: by modality
        """
        if len(self.modalities) > 1:
            return self.join(frames)
        (part,) = frames.values()
        return self.join(part.values, part.mask)

    def views(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return the outputs from all modalities, and from each combination of some of them; the encoders run once.

        Args:
            inputs: the encoder's, with ``present``, bool, shape ``(batch, modalities)``

        Returns:
            by name, each of shape ``(batch, n)``; those of a combination are named ``audio.logits`` and so on, NaN
            where an utterance lacks one of its modalities. With one modality there are none of these
        """
        frames = self.frames(inputs)
        whole, present = self.outputs(frames), present_of(frames, self.modalities)
        outputs = dict(whole)
        for name in parts_of(self.modalities):
            outputs |= {f"{name}.{key}": torch.full_like(values, torch.nan) for key, values in whole.items()}
            (rows,) = has_all(present, self.modalities, name).nonzero(as_tuple=True)
            if len(rows):
                for key, values in self.outputs(self._of(frames, name, rows)).items():
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
            combinations: modalities joined by ``+``, and ``both``
            auxiliary: ``aligned`` and ``reconstruction`` need a mixer that is a shared transformer, ``imagination``
                and ``invariance`` one that imagines
            generator: of the masks and of modality dropout; None takes torch's own

        Returns:
            by combination its ``Pass``, and as far as ``auxiliary`` names them: ``aligned`` (vectors, present), see
            ``passes.aligned``; ``reconstruction`` by pass and modality (estimate, target, mask), shapes ``(n, time,
            width)`` and ``(n, time)``, from passes of their own, whose masks affect no other pass; ``imagination``
            (estimate, target), see ``Imagination.imagined``; ``invariance`` (vectors, present, temperature), see
            ``passes.invariance``
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
        contextual: Contextual = {}
        parts = self._parts(frames, combinations)
        for name, (rows, chosen) in parts.items():
            if "aligned" in auxiliary and name in self.modalities:
                joined, tokens = self.join.contextual(chosen)
                contextual[name] = rows, tokens[name]
            else:
                joined = self.joined(chosen)
            result[name] = Pass(rows, self._head(name)(joined))
        if "aligned" in auxiliary:
            result["aligned"] = aligned(self.join, frames, self.modalities, contextual)
        if "reconstruction" in auxiliary:
            of_each = self.join.settings.masked_passes == "each"
            masked = {name: part for name, (_, part) in parts.items()} if of_each else {BOTH: frames}
            result["reconstruction"] = reconstruction(self.join, masked, generator)
        if "imagination" in auxiliary:
            result["imagination"] = self.join.imagined(frames)
        if "invariance" in auxiliary:
            result["invariance"] = invariance(self.join, frames, self.modalities)
        return result

    def _layers_joined(self, name: str, layers: Sequence[Tensor], present: Tensor | None = None) -> Tensor:
        if name not in self.layer_weights:
            return layers[-1]
        if present is None or bool(present.all()):
            return self.layer_weights[name](layers)
        # a NaN in the rows of an absent modality would reach the gradient of the weights
        (rows,) = present.nonzero(as_tuple=True)
        joined = self.layer_weights[name]([layer[rows] for layer in layers])
        return joined.new_zeros(len(present), *joined.shape[1:]).index_copy(0, rows, joined)

    def _of(self, frames: dict[str, Frames], combination: str, rows: Tensor) -> dict[str, Frames]:
        """Return the frames of some rows in the modalities of a combination."""
        chosen = members(combination, self.modalities)
        return {modality: part.of(rows) for modality, part in frames.items() if modality in chosen}

    def _parts(
        self, frames: dict[str, Frames], combinations: Sequence[str]
    ) -> dict[str, tuple[Tensor, dict[str, Frames]]]:
        """Return by combination the rows that take part and their frames."""
        rows_by_combination = taking(present_of(frames, self.modalities), self.modalities, combinations)
        return {name: (rows, self._of(frames, name, rows)) for name, rows in rows_by_combination.items()}

    def _head(self, combination: str) -> nn.Module:
        if SHARED in self.heads:
            return self.heads[SHARED]
        if combination in self.heads or BOTH in self.heads:
            return self.heads[combination if combination in self.heads else BOTH]
        raise ValueError(f"combination {combination!r} has no head, expected one of {list(self.heads)}")

    def _by_head(self, present: Tensor) -> list[tuple[str, Tensor]]:
        """Return by combination the rows whose outputs its head gives: those that have it and nothing else."""
        n_present, rest = present.sum(dim=1), torch.ones_like(present[:, 0])
        own: dict[str, Tensor] = {}
        for name in parts_of(self.modalities):
            n_members = len(members(name, self.modalities))
            own[name] = has_all(present, self.modalities, name) & (n_present == n_members)
            rest = rest & ~own[name]
        rows_by_head = [(name, chosen.nonzero(as_tuple=True)[0]) for name, chosen in (own | {BOTH: rest}).items()]
        return [(name, rows) for name, rows in rows_by_head if len(rows)]
