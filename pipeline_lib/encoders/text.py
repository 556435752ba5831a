"""Text backbones of transformers: BERT (TinyBERT too), RoBERTa, and decoders of LLaMA's kind.

Padding stands on the right and is masked, so that a text's hidden states do not depend on its neighbours. A tokenizer
without a padding token pads with its end-of-sequence token, as TalTech did for LLaMA 2; the mask marks the padding.

A text may come with the previous turns of its dialogue. They stand before it, each closed by the tokenizer's separator
(the end-of-sequence token where it has none), behind the token that begins every input:
``[CLS] turn 1 [SEP] turn 2 [SEP] own text [SEP]``. The model reads all of it; the hidden states that are returned are
those of the own text alone, to the end, so that pooling and whatever reads frames need not tell the turns apart. What
is too long loses its oldest tokens; the own text is cut, at its end, only where no context is left.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline_lib.encoders.hidden import Hidden, backbone, watch

BIDIRECTIONAL = ("bert", "roberta", "xlm-roberta")
DECODERS = ("llama", "mistral", "qwen2")
MODEL_TYPES = (*BIDIRECTIONAL, *DECODERS)
STARTS = "starts"  # position of each own text's first token, where texts have a context
Text: TypeAlias = str | tuple[str, ...]  # an own text, or previous turns, the oldest first, and the own text


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
                int64, shape ``(batch, time)``; with a context ``starts``, int64, shape ``(batch,)``

        Returns:
            ``n_layers + 1`` layers of shape ``(batch, time, width)``, of the own text, and lengths, ``(batch,)``
        """
        layers: list[Tensor] = []
        of_own = self._selection(inputs)
        watch(self.model, self.blocks, self._arguments(inputs), lambda i, states: layers.append(of_own(states)))
        return Hidden(tuple(layers), self.lengths(inputs))

    @torch.no_grad()
    def each_layer(self, inputs: dict[str, Tensor], visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """Call ``visit`` with each layer as it is computed, so that none has to be stored; no gradient.

        Args:
            inputs: result of ``prepare``, on the model's device
            visit: takes the number of a layer, its states, float32, shape ``(batch, time, width)``, and their lengths,
                int64, shape ``(batch,)``
        """
        lengths, of_own = self.lengths(inputs), self._selection(inputs)
        watch(self.model, self.blocks, self._arguments(inputs), lambda i, states: visit(i, of_own(states), lengths))

    def lengths(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the number of tokens of each own text, int64, shape ``(batch,)``.

        Args:
            inputs: with ``attention_mask``, int64, shape ``(batch, time)``
        """
        return own_lengths(inputs)

    def _arguments(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        given = without_starts(inputs)
        return {**given, "use_cache": False} if self.decoder else given

    def _selection(self, inputs: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
        """Return a function from all tokens' states to those of the own texts, shape ``(batch, time, width)``."""
        starts = inputs.get(STARTS)
        if starts is None:
            return lambda states: states
        time = inputs["attention_mask"].shape[1]
        offsets = torch.arange(int(self.lengths(inputs).max()), device=starts.device)
        positions = (starts[:, None] + offsets).clamp(max=time - 1)  # behind an own text's end states are undefined
        return lambda states: states.take_along_dim(positions[:, :, None], dim=1)


def own_lengths(inputs: dict[str, Tensor]) -> Tensor:
    """Return the number of tokens of each own text, int64, shape ``(batch,)``.

    Args:
        inputs: result of ``Tokens``: ``attention_mask``, int64, shape ``(batch, time)``; maybe ``starts``
    """
    lengths = inputs["attention_mask"].sum(dim=1)
    return lengths - inputs[STARTS] if STARTS in inputs else lengths


def without_starts(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs that a model of transformers takes.

    Args:
        inputs: result of ``Tokens``, tensors of shape ``(batch, ...)``
    """
    return {name: values for name, values in inputs.items() if name != STARTS}


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
        closing = (tokenizer.sep_token_id, tokenizer.eos_token_id)
        self.separator = next((token for token in closing if token is not None and token < table), self.padding)

    def __call__(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, int64, ``(batch, time)``; an empty text has a token at least.

        Where texts are tuples, ``starts``, int64, ``(batch,)``, is the position of each own text's first token.

        Args:
            texts: one an utterance, strings or tuples with the previous turns before the own text, all of one kind
        """
        own = [text if isinstance(text, str) else text[-1] for text in texts]
        rows = self.tokenizer(own, truncation=True, max_length=self.longest, return_attention_mask=False)["input_ids"]
        rows = [row or [self.padding] for row in rows]
        contexts = [text[:-1] for text in texts if not isinstance(text, str)]
        starts = []
        if contexts:
            tokens = self._tokens({turn for context in contexts for turn in context})
            before = [[token for turn in context for token in tokens[turn]] for context in contexts]
            placed = [self._behind(context, row) for context, row in zip(before, rows, strict=True)]
            rows, starts = [row for row, _ in placed], [start for _, start in placed]
        batch = torch.full((len(rows), max(map(len, rows))), self.padding, dtype=torch.int64)
        mask = torch.zeros_like(batch)
        for i, row in enumerate(rows):
            batch[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        inputs = {"input_ids": batch, "attention_mask": mask}
        return inputs | {STARTS: torch.tensor(starts)} if contexts else inputs

    def _tokens(self, turns: Collection[str]) -> dict[str, list[int]]:
        """Return the tokens of each turn, without those that begin and end every input, closed by the separator."""
        if not turns:
            return {}
        rows = self.tokenizer([*turns], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return {turn: [*row, self.separator] for turn, row in zip(turns, rows, strict=True)}

    def _behind(self, context: list[int], row: list[int]) -> tuple[list[int], int]:
        """Return an own text's tokens with the context before them, and where the own text begins.

        Args:
            context: tokens of the previous turns
            row: tokens of the own text, with those that begin and end every input
        """
        leading = int(len(row) > 1 and row[0] in (self.tokenizer.cls_token_id, self.tokenizer.bos_token_id))
        room = self.longest - len(row)
        before = context[-room:] if room else []
        return [*row[:leading], *before, *row[leading:]], leading + len(before)
