"""Encoders of a joint expert: each runs on those utterances of a batch that have its modality.

A frozen branch's states are rounded to float16 and computed outside autocast, as embeddings are: so frames stored
in memory between epochs (in half the size), frames computed again and embeddings are equal. Values beyond 65,504, the
largest of float16, are clipped to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.networks.precision import exact

MODALITIES = ("audio", "text")  # the order of an utterance's parts, and of the columns of ``present``
LARGEST = torch.finfo(torch.float16).max

Part: TypeAlias = np.ndarray | str | Tensor | None  # a waveform, a text, an encoder's stored states, or nothing
Utterance: TypeAlias = tuple[Part, Part]


class JointEncoder(nn.Module):
    """An encoder a modality.

    Attributes:
        branches: the encoders by modality
        rounded: modalities whose states are rounded to float16
        prepare: from utterances to the keyword arguments of ``forward``, on the CPU, for data-loader workers
        minimum_samples: length of the shortest waveform that has a frame
    """

    def __init__(self, branches: Mapping[str, SpeechEncoder | TextEncoder], rounded: Collection[str] = ()) -> None:
        """Take an encoder a modality.

        Args:
            branches: by modality
            rounded: modalities whose encoder is never trained
        """
        super().__init__()
        self.branches = nn.ModuleDict({name: branches[name] for name in MODALITIES})
        self.rounded = frozenset(rounded)
        self.prepare = JointInputs({name: branch.prepare for name, branch in self.branches.items()})
        self.minimum_samples = self.branches["audio"].minimum_samples

    def forward(self, *, present: Tensor, **inputs: dict[str, Tensor]) -> dict[str, Hidden]:
        """Return each modality's layers; an utterance without the modality has length 0 and zeros.

        Args:
            present: bool, shape ``(batch, modalities)``
            inputs: result of ``prepare`` by modality, on the device; empty where no utterance has it. ``present`` may
                since hide a modality that was prepared: it is encoded all the same.

        Returns:
            by modality, layers of shape ``(batch, time, width)``
        """
        result = {}
        for name, prepared in inputs.items():
            if prepared:
                rows = prepared["rows"]
                hidden = self.states(name, {key: value for key, value in prepared.items() if key != "rows"})
                result[name] = hidden if len(rows) == len(present) else _spread(hidden, rows, len(present))
        return result

    def states(self, name: str, inputs: dict[str, Tensor]) -> Hidden:
        """Return the layers of utterances that all have the modality; stored states unchanged.

        Args:
            name: of the modality
            inputs: of its encoder, on the device; or ``kept``, stored states, float16, shape ``(n, n_layers, time,
                width)``, and their ``lengths``, int64, shape ``(n,)``

        Returns:
            layers of shape ``(n, time, width)``
        """
        if "kept" in inputs:
            return Hidden(tuple(inputs["kept"].float().unbind(dim=1)), inputs["lengths"])
        if name not in self.rounded:
            return self.branches[name](**inputs)
        with exact(next(iter(inputs.values())).device):
            hidden = self.branches[name](**inputs)
        return Hidden(tuple(to_half(layer).float() for layer in hidden.layers), hidden.lengths)


class JointInputs:
    """Inputs of a joint encoder; can be pickled."""

    def __init__(self, prepare: Mapping[str, Callable[[Sequence[Any]], dict[str, Tensor]]]) -> None:
        """Take a preparation a modality.

        Args:
            prepare: from an utterance's parts to tensors of shape ``(n, ...)``, see ``SpeechEncoder`` and
                ``TextEncoder``
        """
        self.prepare = dict(prepare)

    def __call__(self, utterances: Sequence[Utterance]) -> dict[str, Any]:
        """Return ``audio`` and ``text``, each a dict of tensors with the ``rows`` that have it, and ``present``.

        Args:
            utterances: the parts of each in the order of ``MODALITIES``: a waveform, shape ``(n_samples,)``, a text,
                stored states, shape ``(n_layers, time, width)``, or None

        Returns:
            by modality tensors of shape ``(n, ...)`` and ``rows``, int64, shape ``(n,)``; ``present``, bool, shape
            ``(batch, modalities)``
        """
        present = torch.tensor([[part is not None for part in utterance] for utterance in utterances])
        inputs: dict[str, Any] = {"present": present}
        for i, name in enumerate(MODALITIES):
            parts = [utterance[i] for utterance in utterances if utterance[i] is not None]
            inputs[name] = self._of(name, parts) | {"rows": present[:, i].nonzero()[:, 0]} if parts else {}
        return inputs

    def _of(self, name: str, parts: list[Part]) -> dict[str, Tensor]:
        if not isinstance(parts[0], Tensor):
            return self.prepare[name](parts)
        stored = cast(list[Tensor], parts)  # all or none of an epoch
        padded = pad_sequence([states.transpose(0, 1) for states in stored], batch_first=True)  # (n, time, layers, d)
        return {"kept": padded.transpose(1, 2), "lengths": torch.tensor([states.shape[1] for states in stored])}


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
