"""A text model under transformers' own classification class, with the interface of ``network.Network``.

Under autocast the encoder alone runs in bfloat16; what stands on it is in float32.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.encoders.text import without_starts
from pipeline_lib.networks.adapters import keep_frozen_norms_still
from pipeline_lib.networks.precision import exact


class SequenceClassificationNetwork(nn.Module):
    """A text model under transformers' own classification class, ``LlamaForSequenceClassification`` for example.

    Its linear layer has one output a label, behind them one an attribute, behind those one a gender where that is
    trained. A causal model is read at the last token that is not padding (TalTech, section 3.2), BERT and its kin at
    their first. The embedding is the state that the linear layer reads.

    Attributes:
        modalities: the one that it reads
    """

    def __init__(self, encoder: nn.Module, classifier: nn.Module, n_labels: int, n_attributes: int) -> None:
        """Put the parts together.

        Args:
            encoder: a ``BranchEncoder`` with one text encoder, whose ``prepare`` serves here too
            classifier: a ``...ForSequenceClassification`` around that encoder's ``model`` with all outputs
            n_labels: outputs that are logits, the first ones
            n_attributes: the outputs behind them; any further ones are the gender's logits
        """
        super().__init__()
        self.encoder = encoder
        self.modalities: tuple[str, ...] = tuple(encoder.branches)
        self.heads = nn.ModuleDict(
            {name: part for name, part in classifier.named_children() if part is not self._branch.model}
        )
        self._classifier = [classifier]  # in a list: its backbone is the encoder's and is registered there
        self.n_labels, self.n_attributes = n_labels, n_attributes
        self._read: list[Tensor] = []
        self.last = "score" in self.heads
        self._outside: list[AbstractContextManager] = []
        reading = self.heads["score" if self.last else "classifier"]
        reading.register_forward_pre_hook(self._remember)
        reading.register_forward_hook(self._leave, always_call=True)

    def attach(self) -> None:
        """Put the encoder's model into the classification class, after it has been replaced."""
        setattr(self._classifier[0], self._classifier[0].base_model_prefix, self._branch.model)

    def train(self, mode: bool = True) -> "SequenceClassificationNetwork":
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        self._classifier[0].training = mode
        eval_frozen(self._branch)
        return self

    def forward(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return the embedding, and logits, attributes and gender as far as the classifier has them.

        Args:
            inputs: the encoder's: of the modality ``input_ids`` and ``attention_mask``, int64, shape ``(batch, time)``;
                ``present``, bool, shape ``(batch, 1)``

        Returns:
            by name, each of shape ``(batch, n)``

        Raises:
            ValueError: an utterance has no text
        """
        tokens = without_starts(self.encoder.only(**inputs))
        scores = self._classifier[0](**tokens).logits
        states = self._read.pop()
        outputs = {"embedding": self._embedding(states, tokens)}
        if self.n_labels:
            outputs["logits"] = scores[:, : self.n_labels]
        behind = self.n_labels + self.n_attributes
        if self.n_attributes:
            outputs["attributes"] = scores[:, self.n_labels : behind]
        if scores.shape[1] > behind:
            outputs["gender"] = scores[:, behind:]
        return outputs

    def views(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Return the outputs; a network of one modality has no others.

        Args:
            inputs: see ``forward``

        Returns:
            by name, each of shape ``(batch, n)``
        """
        return self(inputs)

    @property
    def _branch(self) -> Any:
        return self.encoder.branches[self.modalities[0]]

    def _remember(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        states = inputs[0].float()  # of an encoder in bfloat16, by its weights or under autocast
        self._read[:] = [states]
        self._outside.append(exact(states.device))
        self._outside[-1].__enter__()
        return (states,)

    def _leave(self, *_: object) -> None:
        self._outside.pop().__exit__(None, None, None)

    def _embedding(self, states: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        if states.ndim == 2:
            return states
        if not self.last:
            return states[:, 0]
        config = self._classifier[0].config
        tokens = inputs["input_ids"]
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        # the rule of GenericForSequenceClassification
        last = (positions * (tokens != config.pad_token_id)).argmax(dim=1)
        return states[torch.arange(len(states), device=states.device), last]


def is_trained(module: nn.Module) -> bool:
    """Return whether any parameter takes gradients."""
    return any(parameter.requires_grad for parameter in module.parameters())


def eval_frozen(encoder: nn.Module) -> None:
    """Put an encoder that is not trained into eval mode, and the frozen batch norms of one that is."""
    if is_trained(encoder):
        keep_frozen_norms_still(encoder)
    else:
        encoder.eval()
