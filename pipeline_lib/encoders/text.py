"""Text backbones of transformers: BERT (TinyBERT too), RoBERTa, and decoders of LLaMA's kind.

Padding stands on the right and is masked, so that a text's hidden states do not depend on its neighbours. A tokenizer
without a padding token pads with its end-of-sequence token, as TalTech did for LLaMA 2; the mask marks the padding.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline_lib.encoders.hidden import Hidden, backbone, watch

BIDIRECTIONAL = ("bert", "roberta", "xlm-roberta")
DECODERS = ("llama", "mistral", "qwen2")
MODEL_TYPES = (*BIDIRECTIONAL, *DECODERS)


class TextEncoder(nn.Module):
    """A backbone and its tokenizer.

    Attributes:
        model: the model of transformers; a model with adapters replaces it here
        prepare: from texts to the keyword arguments of ``forward``, on the CPU, for data-loader workers
        width: of a hidden state
        n_layers: transformer blocks
        decoder: True where a token attends only to those before it, so that the last one covers the whole text
        checkpoint, revision: where the weights are from; the revision is the commit, None for a local folder
    """

    def __init__(
        self, model: PreTrainedModel, prepare: "Tokens", checkpoint: str = "", revision: str | None = None
    ) -> None:
        """Take a bare model.

        Args:
            model: without pooler and heads
            prepare: see ``Tokens``
            checkpoint: name or folder, for messages and metadata
            revision: the commit
        """
        super().__init__()
        self.model, self.prepare, self.checkpoint, self.revision = model, prepare, checkpoint, revision
        self.kind = self.signature = model.config.model_type
        self.decoder = self.kind in DECODERS
        self.width, self.n_layers = model.config.hidden_size, len(self.blocks)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        inner = backbone(self.model)
        return inner.layers if self.kind in DECODERS else inner.encoder.layer

    def forward(self, **inputs: Tensor) -> Hidden:
        """Return every layer's states, see ``hidden``; gradient flows.

        Args:
            inputs: result of ``prepare``, on the model's device: ``input_ids`` and ``attention_mask``,
                int64, shape ``(batch, time)``

        Returns:
            ``n_layers + 1`` layers of shape ``(batch, time, width)``, and lengths of shape ``(batch,)``
        """
        layers: list[Tensor] = []
        watch(self.model, self.blocks, self._arguments(inputs), lambda i, states: layers.append(states))
        return Hidden(tuple(layers), self.lengths(inputs))

    @torch.no_grad()
    def each_layer(self, inputs: dict[str, Tensor], visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """Call ``visit`` with each layer as it is computed, so that none has to be stored; no gradient.

        Args:
            inputs: result of ``prepare``, on the model's device
            visit: takes the number of a layer, its states, float32, shape ``(batch, time, width)``, and their lengths,
                int64, shape ``(batch,)``
        """
        lengths = self.lengths(inputs)
        watch(self.model, self.blocks, self._arguments(inputs), lambda i, states: visit(i, states, lengths))

    def lengths(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the number of tokens of each text, int64, shape ``(batch,)``.

        Args:
            inputs: with ``attention_mask``, int64, shape ``(batch, time)``
        """
        return inputs["attention_mask"].sum(dim=1)

    def _arguments(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        return {**inputs, "use_cache": False} if self.decoder else inputs


class Tokens:
    """Inputs of a text backbone: token numbers, padded on the right, cut at the longest text that the model takes."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, longest: int, table: int) -> None:
        """Set the padding.

        Args:
            tokenizer: of the checkpoint
            longest: most tokens that the model takes
            table: number of tokens that the model has a vector for; a padding token behind them is not used
        """
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer, self.longest = tokenizer, min(longest, tokenizer.model_max_length)
        known = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.cls_token_id)
        self.padding = next((token for token in known if token is not None and token < table), 0)

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, int64, ``(batch, time)``; an empty text has a token at least.

        Args:
            texts: one an utterance
        """
        rows = self.tokenizer(list(texts), truncation=True, max_length=self.longest, return_attention_mask=False)[
            "input_ids"
        ]
        rows = [row or [self.padding] for row in rows]
        batch = torch.full((len(rows), max(map(len, rows))), self.padding, dtype=torch.int64)
        mask = torch.zeros_like(batch)
        for i, row in enumerate(rows):
            batch[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return {"input_ids": batch, "attention_mask": mask}
