"""A joint expert's network: encoders -> layers -> mixer -> heads; its parts are handed in.

A *combination* is a modality's name or ``both``, everything there is. An utterance takes part in the passes of the
modalities that it has, and in ``both`` where it has all of them; with one alone it takes part in ``both`` only where
that one is not trained for itself. So every utterance is trained, and none twice in the same pass.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.network import still_what_is_frozen
from pipeline_lib.networks.precision import exact
from pipeline_lib.networks.presence import BOTH, some_hidden, taking

SHARED = "shared"

Auxiliary = Literal["aligned", "reconstruction", "imagination", "invariance"]


@dataclass(frozen=True)
class Pass:
    """What one combination makes of a batch.

    Attributes:
        rows: the utterances that took part, by their place in the batch, int64, shape ``(n,)``
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
        """Set the mode; what is not trained stays in eval mode."""
        super().train(mode)
        for part in (*self.encoder.branches.values(), self.mixer, *self.heads.values()):
            still_what_is_frozen(part)
        return self

    def forward(
        self, inputs: dict[str, Any], combinations: Sequence[str] | None = None, auxiliary: Iterable[Auxiliary] = ()
    ) -> dict[str, Any]:
        """Return the outputs of all that each utterance has, or ``passes`` where combinations are named.

        Wrappers that share gradients between processes watch this method alone.
        """
        if combinations is not None:
            return self.passes(inputs, combinations, auxiliary)
        return self.outputs(self.frames(inputs))

    def frames(self, inputs: dict[str, Any]) -> dict[str, Frames]:
        """Return each modality's frames, layers joined, equation 1 of Chochlakis et al.

        Args:
            inputs: the encoder's, and among them ``present``, bool, shape ``(batch, modalities)``
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
        """Return the head's outputs from all frames that each utterance has, in the order of the batch.

        Of separate heads each utterance's own answers: that of its combination, or of ``both`` where there is none.
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
        """Return the outputs of all that each utterance has, and of each modality alone; the encoders run once.

        The latter are named ``audio.logits`` and so on, NaN where an utterance lacks the modality.
        """
        frames = self.frames(inputs)
        whole = self.outputs(frames)
        found = dict(whole)
        for name in self.modalities:
            found |= {f"{name}.{key}": torch.full_like(values, torch.nan) for key, values in whole.items()}
            if name in frames:
                (rows,) = frames[name].present.nonzero(as_tuple=True)
                for key, values in self.outputs({name: frames[name].of(rows)}).items():
                    found[f"{name}.{key}"].index_copy_(0, rows, values)
        return found

    def passes(
        self,
        inputs: dict[str, Any],
        combinations: Sequence[str],
        auxiliary: Iterable[Auxiliary] = (),
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Return a ``Pass`` for each combination that an utterance takes part in, and what the auxiliary losses read.

        The encoders run once. ``aligned`` is (audio, text, both): vectors of the unimodal passes, shape ``(batch,
        width)``, and who has them all. ``reconstruction`` has (estimate, target, mask) by pass and modality, from
        passes of their own, whose masks touch no other pass. ``imagination`` is (estimate, target) of who has both,
        ``invariance`` (audio, text, both, temperature): vectors as of ``aligned``, and what their cosines are divided
        by.

        Args:
            inputs: the encoder's, with ``present``
            combinations: modalities and ``both``
            auxiliary: ``aligned`` and ``reconstruction`` want a mixer that is a shared transformer, ``imagination``
                and ``invariance`` one that imagines
            generator: of the masks and of modality dropout; None takes torch's own
        """
        if self.training and self.modality_dropout > 0:
            inputs = inputs | {"present": some_hidden(inputs["present"], self.modality_dropout, generator)}
        return self._passes(self.frames(inputs), combinations, set(auxiliary), generator)

    @_in_float32
    def _passes(
        self,
        frames: dict[str, Frames],
        combinations: Sequence[str],
        auxiliary: set[Auxiliary],
        generator: torch.Generator | None,
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        contextual: dict[str, tuple[Tensor, Frames]] = {}  # by modality: rows, tokens of the unimodal pass
        parts = self._parts(frames, combinations)
        for name, (rows, chosen) in parts.items():
            if "aligned" in auxiliary and name in self.modalities:
                mixed, tokens = self.mixer.contextual(chosen)
                contextual[name] = rows, tokens[name]
            else:
                mixed = self.mixer(chosen)
            found[name] = Pass(rows, self._head(name)(mixed))
        if "aligned" in auxiliary:
            found["aligned"] = self._aligned(frames, contextual)
        if "reconstruction" in auxiliary:
            each = self.mixer.settings.masked_passes == "each"
            chosen = {name: part for name, (_, part) in parts.items()} if each else {BOTH: frames}
            told = {name: self.mixer.reconstruct(part, generator) for name, part in chosen.items()}
            found["reconstruction"] = {
                f"{name} {modality}": (part.estimate, part.target, part.mask)
                for name, one in told.items()
                for modality, part in one.items()
            }
        if "imagination" in auxiliary:
            found["imagination"] = self.mixer.imagined(frames)
        if "invariance" in auxiliary:
            found["invariance"] = self._invariance(frames)
        return found

    def _joined(self, name: str, layers: Sequence[Tensor], present: Tensor) -> Tensor:
        if name not in self.layer_weights:
            return layers[-1]
        if bool(present.all()):
            return self.layer_weights[name](layers)
        (rows,) = present.nonzero(
            as_tuple=True
        )  # what absent rows hold, were it NaN, would reach the weights' gradient
        joined = self.layer_weights[name]([layer[rows] for layer in layers])
        return joined.new_zeros(len(present), *joined.shape[1:]).index_copy(0, rows, joined)

    def _present(self, frames: dict[str, Frames]) -> Tensor:
        some = next(iter(frames.values())).present
        columns = [frames[name].present if name in frames else torch.zeros_like(some) for name in self.modalities]
        return torch.stack(columns, dim=1)  # (batch, modalities)

    def _parts(
        self, frames: dict[str, Frames], combinations: Sequence[str]
    ) -> dict[str, tuple[Tensor, dict[str, Frames]]]:
        """Return for each combination the rows that take part and the frames that they show."""
        return {
            name: (rows, {each: part.of(rows) for each, part in frames.items() if name in (BOTH, each)})
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
        raise ValueError(f"there is no head of {combination!r}, those there are: {list(self.heads)}")

    def _by_head(self, present: Tensor) -> list[tuple[str, Tensor]]:
        """Return the rows that each combination's head answers for."""
        found = []
        lone = present.sum(dim=1) == 1
        taking = {name: lone & present[:, i] for i, name in enumerate(self.modalities)} | {BOTH: ~lone}
        for name, chosen in taking.items():
            (rows,) = chosen.nonzero(as_tuple=True)
            if len(rows):
                found.append((name, rows))
        return found
