"""An expert's network: encoder -> layers -> pooling -> head; its parts are arguments.

Under autocast the encoder alone runs in bfloat16; what stands on it is in float32.

``forward(inputs) -> {"embedding": (batch, width), "logits": (batch, n_labels), "attributes": (batch, n_attributes),
"gender": (batch, 2)}``, the last three as far as the expert predicts them; ``inputs`` is the result of the encoder's
``prepare``.
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from pipeline_lib.networks.adapters import keep_frozen_norms_still
from pipeline_lib.networks.precision import exact


class Network(nn.Module):
    """One encoder, its layers joined, its frames pooled, a head on top.

    An encoder that is not trained stays in eval mode, without dropout or masks, and keeps no activations.
    """

    def __init__(
        self, encoder: nn.Module, layer_weights: nn.Module | None, pooling: nn.Module, head: nn.Module
    ) -> None:
        """Put the parts together.

        Args:
            encoder: ``(**inputs) -> Hidden`` of ``encoders.speech``, with ``layers``, ``mask``
            layer_weights: ``layers -> (batch, time, width)``; None takes the last layer
            pooling: ``(frames, mask) -> (batch, pooled width)``
            head: ``pooled -> outputs``
        """
        super().__init__()
        self.encoder = encoder
        self.layer_weights = layer_weights
        self.pooling = pooling
        self.head = head

    def train(self, mode: bool = True) -> "Network":
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        eval_frozen(self.encoder)
        return self

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the head's outputs.

        Args:
            inputs: result of the encoder's ``prepare``, on the device

        Returns:
            by name, each of shape ``(batch, n)``, see ``heads``
        """
        hidden = self.encoder(**inputs)
        with exact(hidden.lengths.device):
            frames = hidden.layers[-1] if self.layer_weights is None else self.layer_weights(hidden.layers)
            return self.head(self.pooling(frames, hidden.mask))


class SequenceClassificationNetwork(nn.Module):
    """A text model under transformers' own classification class, ``LlamaForSequenceClassification`` for example.

    Its linear layer has one output a label, behind them one an attribute, behind those one a gender where that is
    trained. A causal model is read at the last token that is not padding (TalTech, section 3.2), BERT and its kin at
    their first. The embedding is the state that the linear layer reads.
    """

    def __init__(self, encoder: nn.Module, classifier: nn.Module, n_labels: int, n_attributes: int) -> None:
        """Put the parts together.

        Args:
            encoder: the text encoder, whose ``prepare`` and ``width`` serve here too
            classifier: a ``...ForSequenceClassification`` around ``encoder.model`` with all outputs
            n_labels: outputs that are logits, the first ones
            n_attributes: the outputs behind them; any further ones are the gender's logits
        """
        super().__init__()
        self.encoder = encoder
        self.head = nn.ModuleDict(
            {name: part for name, part in classifier.named_children() if part is not encoder.model}
        )
        self._classifier = [classifier]  # in a list: its backbone is the encoder's and is registered there
        self.n_labels, self.n_attributes = n_labels, n_attributes
        self._read: list[Tensor] = []
        self.last = "score" in self.head
        self._outside: list[AbstractContextManager] = []
        reading = self.head["score" if self.last else "classifier"]
        reading.register_forward_pre_hook(self._remember)
        reading.register_forward_hook(self._leave, always_call=True)

    def attach(self) -> None:
        """Put the encoder's model into the classification class, after it has been replaced."""
        setattr(self._classifier[0], self._classifier[0].base_model_prefix, self.encoder.model)

    def train(self, mode: bool = True) -> "SequenceClassificationNetwork":
        """Set the mode; frozen parts stay in eval mode."""
        super().train(mode)
        self._classifier[0].training = mode
        eval_frozen(self.encoder)
        return self

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the embedding, and logits, attributes and gender as far as the classifier has them.

        Args:
            inputs: ``input_ids`` and ``attention_mask``, int64, shape ``(batch, time)``

        Returns:
            by name, each of shape ``(batch, n)``
        """
        scores = self._classifier[0](**inputs).logits
        states = self._read.pop()
        outputs = {"embedding": self._embedding(states, inputs)}
        if self.n_labels:
            outputs["logits"] = scores[:, : self.n_labels]
        behind = self.n_labels + self.n_attributes
        if self.n_attributes:
            outputs["attributes"] = scores[:, self.n_labels : behind]
        if scores.shape[1] > behind:
            outputs["gender"] = scores[:, behind:]
        return outputs

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
