"""Train models/demo/llama: a small LLaMA, a causal language model of the grammar's open sentences.

``--width 128`` trains models/demo/llama_wide, which stands in where weights are held in 4 bit: bitsandbytes takes a
constant for each 64 weights, and some of its kernels need a width that 64 divides.

Architecture of LLaMA 2 (Touvron et al. 2023), with a byte-level BPE tokenizer in place of its SentencePiece one; as
there, BOS begins a text and there is no padding token. A training text is one to three sentences that mostly keep to
one mood, as people's texts do: so words of one mood become neighbours, as they are in any large language model. The
model gets no mood and no label.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline_lib.demonstration import sentences
from pipeline_lib.demonstration.checkpoints.schedule import like_long, warm_up_and_decay

SEED = 13
TEXTS, STEPS, BATCH, PEAK_RATE, WARM_UP_STEPS = 8000, 600, 32, 2e-3, 50
VOCABULARY = 640
KEEPS_MOOD = 0.85
CONFIG = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def main(
    out: Path = Path("models/demo/llama"),
    texts: int = TEXTS,
    steps: int = STEPS,
    width: int = CONFIG["hidden_size"],
) -> None:
    """Draw texts, build the tokenizer, train the model, save both as transformers does.

    \f
    Args:
        out: folder to write
        texts: number of training texts
        steps: number of batches
        width: hidden size
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    drawn = [draw_text(rng) for _ in range(texts)]
    tokenizer = build_tokenizer(drawn)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    config = LlamaConfig(**(CONFIG | {"hidden_size": width}), **special, vocab_size=len(tokenizer))
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=1e-2)
    train(model, optimizer, WARM_UP_STEPS, [_ids(tokenizer, text) for text in drawn], next_tokens, steps, rng)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens")


def draw_text(rng: np.random.Generator) -> str:
    """Return one to three open sentences, mostly of one mood, written in one of several ways."""
    moods = (None, *sentences.MARKERS)
    mood = moods[int(rng.integers(len(moods)))]
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        marker = mood if rng.random() < KEEPS_MOOD else moods[int(rng.integers(len(moods)))]
        parts.append(sentences.draw(rng, marker, "open"))
    match int(rng.integers(4)):
        case 0:
            return " ".join(f"{part.capitalize()}." for part in parts)
        case 1:
            return ". ".join(parts)
        case _:
            return " ".join(parts)


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that can write any text, with BOS in front and no padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def next_tokens(texts: list[Tensor]) -> dict[str, Tensor]:
    """Return the model's inputs for a batch: each token is predicted from those before it.

    Args:
        texts: tokens, int64, each of shape ``(time,)``

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, -100 at the padding, each of shape ``(batch, time)``
    """
    ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
    valid = torch.arange(ids.shape[1]) < torch.tensor([len(text) for text in texts])[:, None]
    return {"input_ids": ids, "attention_mask": valid.long(), "labels": ids.masked_fill(~valid, -100)}


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    warm_up_steps: int,
    texts: list[Tensor],
    inputs_of: Callable[[list[Tensor]], dict[str, Tensor]],
    steps: int,
    rng: np.random.Generator,
) -> None:
    """Minimise the cross-entropy of the predicted tokens.

    Args:
        model: a language model of transformers
        optimizer: of its parameters, at its peak rate
        warm_up_steps: number of steps in which the rate rises; afterwards it falls
        texts: tokens, int64, each of shape ``(time,)``
        inputs_of: a batch of them to the model's inputs, with labels
        steps: number of batches
        rng: source of the order
    """
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warm_up_and_decay(s, warm_up_steps, steps))
    batches = like_long([len(text) for text in texts], BATCH, rng)
    model.train()
    started, losses = time.monotonic(), []
    for step in range(steps):
        loss = model(**inputs_of([texts[i] for i in next(batches)])).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 99:
            took_s = time.monotonic() - started
            print(f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}, {took_s:.0f} s", flush=True)


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> Tensor:
    return torch.tensor([*tokenizer(text)["input_ids"], tokenizer.eos_token_id])


if __name__ == "__main__":
    typer.run(main)
