"""The encoders of an expert that reads audio and text: each runs on those utterances of a batch that have its modality.

A frozen branch's states are rounded to float16 and computed outside autocast, as embeddings are: frames that are kept
in memory between epochs (half as large so), those that would be computed again and those of an embedding are the same.
Beyond 65,504 float16 has no number; what lies there is taken back to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

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

Part = np.ndarray | str | Tensor | None  # a waveform, a text, an encoder's kept states, or nothing
Utterance = tuple[Part, Part]


class JointEncoder(nn.Module):
    """An encoder a modality.

    Attributes:
        branches: the encoders by modality
        rounded: modalities whose states are rounded to float16
        prepare: utterances to the keyword arguments of ``forward``, on the CPU, for data-loader workers
        minimum_samples: of the shortest waveform that has a frame
    """

    def __init__(self, branches: Mapping[str, SpeechEncoder | TextEncoder], rounded: Collection[str] = ()) -> None:
        """Take the encoders.

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
            inputs: by modality what ``prepare`` made, on the device; empty where no utterance has it. Behind
                ``prepare``, ``present`` may hide a modality that was prepared: it is encoded all the same.
        """
        found = {}
        for name, given in inputs.items():
            if given:
                rows, given = given["rows"], {key: value for key, value in given.items() if key != "rows"}
                hidden = self.states(name, given)
                found[name] = hidden if len(rows) == len(present) else _spread(hidden, rows, len(present))
        return found

    def states(self, name: str, inputs: dict[str, Tensor]) -> Hidden:
        """Return the layers of utterances that all have the modality, kept ones as they were kept."""
        if "kept" in inputs:
            return Hidden(tuple(inputs["kept"].float().unbind(dim=1)), inputs["lengths"])
        if name not in self.rounded:
            return self.branches[name](**inputs)
        with exact(next(iter(inputs.values())).device):
            hidden = self.branches[name](**inputs)
        return Hidden(tuple(to_half(layer).float() for layer in hidden.layers), hidden.lengths)


class JointInputs:
    """What makes the inputs of a joint encoder; it can be pickled."""

    def __init__(self, prepare: Mapping[str, Callable[[Sequence[Any]], dict[str, Tensor]]]) -> None:
        """Take each modality's own."""
        self.prepare = dict(prepare)

    def __call__(self, utterances: Sequence[Utterance]) -> dict[str, Any]:
        """Return ``audio`` and ``text``, each a dict of tensors with the ``rows`` that have it, and ``present``.

        ``rows`` is int64, shape ``(n,)``; ``present`` bool, shape ``(batch, modalities)``.
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
        kept = pad_sequence([states.transpose(0, 1) for states in parts], batch_first=True)  # (n, time, layers, width)
        return {"kept": kept.transpose(1, 2), "lengths": torch.tensor([states.shape[1] for states in parts])}


def to_half(states: Tensor) -> Tensor:
    """Return states in float16, what is beyond its range taken back to its ends."""
    return states.float().clamp(-LARGEST, LARGEST).half()


def _spread(hidden: Hidden, rows: Tensor, batch: int) -> Hidden:
    """Return the states of some rows at their places among all, zeros elsewhere; gradient flows."""
    layers = tuple(each.new_zeros(batch, *each.shape[1:]).index_copy(0, rows, each) for each in hidden.layers)
    return Hidden(layers, hidden.lengths.new_zeros(batch).index_copy(0, rows, hidden.lengths))
