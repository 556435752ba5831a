"""Encoders of an expert, one a modality: each runs on those utterances of a batch that have its modality.

The states of a branch that is ``rounded`` are rounded to float16 and computed outside autocast, as embeddings are: so
frames cached between epochs (in half the size), frames computed again and embeddings are equal. Values beyond 65,504,
the largest of float16, are clipped to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.networks.precision import exact

ROWS = "rows"  # which utterances of the batch a modality's inputs are of
CACHED = "cached"  # states in place of an encoder's inputs
LARGEST = torch.finfo(torch.float16).max

Part: TypeAlias = np.ndarray | str | Tensor | None  # a waveform, a text, an encoder's cached states, or nothing


class BranchEncoder(nn.Module):
    """An encoder a modality.

    Attributes:
        branches: the encoders by modality, in the order of an utterance's parts and of the columns of ``present``
        rounded: modalities whose states are rounded to float16
        prepare: from utterances to the keyword arguments of ``forward``, on the CPU, for data-loader workers
        minimum_samples: length of the shortest waveform of which every branch that reads one has a frame
    """

    def __init__(self, branches: Mapping[str, nn.Module], rounded: Collection[str] = ()) -> None:
        """Take an encoder a modality.

        Args:
            branches: by modality, in order
            rounded: modalities whose encoder is never trained and whose states may be cached
        """
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        self.rounded = frozenset(rounded)
        self.prepare = BranchInputs({name: cast(Any, branch).prepare for name, branch in branches.items()})
        self.minimum_samples = max(getattr(branch, "minimum_samples", 1) for branch in branches.values())

    def forward(self, *, present: Tensor, **inputs: dict[str, Tensor]) -> dict[str, Hidden]:
        """Return each modality's layers; an utterance without the modality has length 0 and zeros.

        Args:
            present: bool, shape ``(batch, modalities)``
            inputs: result of ``prepare`` by modality, on the device; empty where no utterance has it. ``present`` may
                since hide a modality that was prepared: it is encoded all the same.

        Returns:
            by modality, layers of shape ``(batch, time, width)``

        Raises:
            ValueError: there is one modality, and an utterance lacks it
        """
        if len(self.branches) == 1:
            (name,) = self.branches
            return {name: self.states(name, self.only(present=present, **inputs))}
        result = {}
        for name, prepared in inputs.items():
            if prepared:
                rows, hidden = prepared[ROWS], self.states(name, without_rows(prepared))
                result[name] = hidden if len(rows) == len(present) else _spread(hidden, rows, len(present))
        return result

    def only(self, *, present: Tensor, **inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs of the only branch, each of shape ``(batch, ...)``.

        Args:
            present: bool, shape ``(batch, 1)``
            inputs: as of ``forward``

        Raises:
            ValueError: an utterance lacks the modality
        """
        (name,) = self.branches
        n = len(inputs[name].get(ROWS, ()))
        if n != len(present):
            raise ValueError(
                f"{len(present) - n} of {len(present)} utterances of the batch have no {name}, expected all"
            )
        return without_rows(inputs[name])

    def states(self, name: str, inputs: dict[str, Tensor]) -> Hidden:
        """Return the layers of utterances that all have the modality; cached states unchanged.

        Args:
            name: of the modality
            inputs: of its encoder, on the device; or ``cached``, states, float16, shape ``(n, n_layers, time, width)``,
                and their ``lengths``, int64, shape ``(n,)``

        Returns:
            layers of shape ``(n, time, width)``
        """
        if CACHED in inputs:
            return Hidden(tuple(inputs[CACHED].float().unbind(dim=1)), inputs["lengths"])
        if name not in self.rounded:
            return self.branches[name](**inputs)
        with exact(next(iter(inputs.values())).device):
            hidden = self.branches[name](**inputs)
        return Hidden(tuple(to_half(layer).float() for layer in hidden.layers), hidden.lengths)


class BranchInputs:
    """Inputs of a branch encoder; can be pickled."""

    def __init__(self, prepare: Mapping[str, Callable[[Sequence[Any]], dict[str, Tensor]]]) -> None:
        """Take a preparation a modality.

        Args:
            prepare: by modality, in order, from an utterance's parts to tensors of shape ``(n, ...)``, see
                ``SpeechEncoder`` and ``TextEncoder``
        """
        self.prepare = dict(prepare)

    def __call__(self, utterances: Sequence[tuple[Part, ...]]) -> dict[str, Any]:
        """Return a dict of tensors by modality, with the ``rows`` that have it, and ``present``.

        Args:
            utterances: of each a tuple with one part a branch, in their order: a waveform, shape ``(n_samples,)``, a
                text, cached states, shape ``(n_layers, time, width)``, or None

        Returns:
            by modality tensors of shape ``(n, ...)`` and ``rows``, int64, shape ``(n,)``; ``present``, bool, shape
            ``(batch, modalities)``

        Raises:
            ValueError: an utterance is no tuple of as many parts
        """
        for utterance in utterances:
            if not isinstance(utterance, tuple) or len(utterance) != len(self.prepare):
                raise ValueError(
                    f"an utterance is {type(utterance).__name__}, expected a tuple of {list(self.prepare)}"
                )
        present = torch.tensor([[part is not None for part in utterance] for utterance in utterances])
        inputs: dict[str, Any] = {"present": present}
        for i, name in enumerate(self.prepare):
            parts = [utterance[i] for utterance in utterances if utterance[i] is not None]
            inputs[name] = self._of(name, parts) | {ROWS: present[:, i].nonzero()[:, 0]} if parts else {}
        return inputs

    def _of(self, name: str, parts: list[Part]) -> dict[str, Tensor]:
        if not isinstance(parts[0], Tensor):
            return self.prepare[name](parts)
        cached = cast(list[Tensor], parts)  # all or none of an epoch
        padded = pad_sequence([states.transpose(0, 1) for states in cached], batch_first=True)  # (n, time, layers, d)
        return {CACHED: padded.transpose(1, 2), "lengths": torch.tensor([states.shape[1] for states in cached])}


def without_rows(prepared: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return one modality's inputs as its encoder takes them.

    Args:
        prepared: result of ``BranchInputs`` for the modality, with ``rows``, shape ``(n,)``
    """
    return {key: value for key, value in prepared.items() if key != ROWS}


def to_half(states: Tensor) -> Tensor:
    """Return states in float16, clipped to its range, shape unchanged.

    Args:
        states: any shape
    """
    return states.float().clamp(-LARGEST, LARGEST).half()


def _spread(hidden: Hidden, rows: Tensor, batch: int) -> Hidden:
    """Return the states of some rows scattered into the batch, zeros elsewhere; gradient flows."""
    layers = tuple(layer.new_zeros(batch, *layer.shape[1:]).index_copy(0, rows, layer) for layer in hidden.layers)
    return Hidden(layers, hidden.lengths.new_zeros(batch).index_copy(0, rows, hidden.lengths))
