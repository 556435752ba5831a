"""Train models/demo/roberta: a small RoBERTa, a masked language model of the grammar's open sentences.

Architecture of RoBERTa (Liu et al. 2019) and its special tokens: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3,
``<mask>`` last; positions count on from the padding token's 2. The texts are those that ``train_llama`` draws, so it
gets no mood and no label either. Of each text's tokens 15 % are predicted, drawn anew in each pass: 80 % of them
are replaced by the mask, 10 % by another token, 10 % stay as they are.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from pipeline_lib.demonstration.checkpoints.train_llama import draw_text, train

SEED = 13  # the LLaMA's, for the same texts
TEXTS, STEPS, PEAK_RATE, WARM_UP_STEPS = 8000, 2500, 3e-3, 100
VOCABULARY = 640
PREDICTED = 0.15  # share of the tokens
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
CONFIG = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "initializer_range": 0.05,  # the usual 0.02 leaves a width of 64 too small a start
}


def main(out: Path = Path("models/demo/roberta"), texts: int = TEXTS, steps: int = STEPS) -> None:
    """Draw texts, build the tokenizer, train the model, save both as transformers does.

    \f
    Args:
        out: folder to write
        texts: number of training texts
        steps: number of batches
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    drawn = [draw_text(rng) for _ in range(texts)]
    tokenizer = build_tokenizer(drawn)
    config = RobertaConfig(**CONFIG, vocab_size=len(tokenizer), bos_token_id=0, pad_token_id=1, eos_token_id=2)
    model = RobertaForMaskedLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-2)
    ids = [torch.tensor(tokenizer(text)["input_ids"]) for text in drawn]
    train(model, optimizer, WARM_UP_STEPS, ids, partial(masked, tokenizer=tokenizer, rng=rng), steps, rng)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens")


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that can write any text, ``<s>`` in front and ``</s>`` behind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,  # without the mask
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])  # the blank before it belongs to it
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **names,
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=CONFIG["max_position_embeddings"] - 2,
    )


def mask(ids: Tensor, vocabulary: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return masked tokens and targets of a batch.

    Args:
        ids: padded tokens, int64, shape ``(batch, time)``
        vocabulary: number of tokens, the mask last
        rng: source of the choice

    Returns:
        tokens and targets, -100 where there is none, each of shape ``(batch, time)``; special tokens stay
    """
    predicted = torch.from_numpy(rng.random(ids.shape) < PREDICTED) & (ids >= len(SPECIAL))
    fate = torch.from_numpy(rng.random(ids.shape))
    other = torch.from_numpy(rng.integers(len(SPECIAL), vocabulary - 1, ids.shape))
    seen = torch.where(predicted & (fate < 0.8), vocabulary - 1, ids)
    seen = torch.where(predicted & (fate >= 0.9), other, seen)
    return seen, ids.masked_fill(~predicted, -100)


def masked(texts: list[Tensor], tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the model's inputs for a batch: the tokens behind the mask are predicted.

    Args:
        texts: tokens, int64, each of shape ``(time,)``
        tokenizer: for the padding and the vocabulary
        rng: source of the masks

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, each of shape ``(batch, time)``
    """
    ids = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=tokenizer.pad_token_id)
    seen, targets = mask(ids, len(tokenizer), rng)
    return {"input_ids": seen, "attention_mask": (ids != tokenizer.pad_token_id).long(), "labels": targets}


if __name__ == "__main__":
    typer.run(main)
