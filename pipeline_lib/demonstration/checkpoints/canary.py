"""A small NVIDIA Canary (EncDecMultiTaskModel) that recognises the demonstration's grammar, from random weights.

Conformer encoder, Transformer decoder, prompt format ``canary`` (Puvvada et al., Interspeech 2024), all tiny. Trained
on cross-entropy alone it learns to recite sentences without listening; the encoder therefore starts with
CTC over short word pieces, which stays as an auxiliary loss and whose head is thrown away. (Letters are too many for
CTC here: fast speech has more of them than the encoder has frames, 25 a second.) About 20 minutes on one core.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer
from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model
from omegaconf import OmegaConf
from sentencepiece import SentencePieceProcessor
from torch import Tensor, nn

from pipeline_lib.demonstration.checkpoints import speech
from pipeline_lib.demonstration.checkpoints.canary_config import model_config
from pipeline_lib.demonstration.checkpoints.schedule import like_long, warm_up_and_decay

SEED = 7
CTC_STEPS, BATCH = 250, 32
PEAK_RATE, WARM_UP_STEPS, CTC_WEIGHT = 2e-3, 100, 0.3
SUBWORDS, CTC_PIECES = 400, 100
SPECIAL = ["translate", "transcribe", "en", "de", "es", "fr"]


@dataclass(frozen=True)
class Example:
    """One utterance ready for training.

    Args:
        features: normalised log-mel, float16, shape (80, n_frames)
        tokens: decoder ids by prompt, {"yes": ..., "no": ...}: prompt, words, end
        prompt_length: number of the prompt's tokens
        pieces: CTC symbols, 1 and up, shape (n_pieces,)
    """

    features: Tensor
    tokens: dict[str, Tensor]
    prompt_length: int
    pieces: Tensor


def train_checkpoint(out: Path, utterances: int, steps: int) -> None:
    """Synthesise speech, build the model, train it, save it.

    Args:
        out: .nemo file to write
        utterances: number of utterances to speak
        steps: number of training steps
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    planned = speech.plan(rng, utterances)
    with tempfile.TemporaryDirectory() as folder:
        model, pieces = build([utterance.text for utterance in planned], Path(folder))
        examples = prepare(model, pieces, planned)
        train(model, examples, steps, rng)
        model.eval()
        out.parent.mkdir(parents=True, exist_ok=True)
        model.save_to(str(out))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {parameters / 1e6:.2f} M parameters")


def build(texts: list[str], folder: Path) -> tuple[EncDecMultiTaskModel, SentencePieceProcessor]:
    """Return an untrained model, and the tokenizer of its CTC head.

    Args:
        texts: from which the tokenizers are made
        folder: for the tokenizers' files
    """
    (folder / "text.txt").write_text("\n".join(texts) + "\n")
    for name, size in (("en", SUBWORDS), ("ctc", CTC_PIECES)):
        create_spt_model(
            str(folder / "text.txt"), vocab_size=size, sample_size=-1, do_lower_case=True,
            output_dir=str(folder / name), tokenizer_type="bpe",
        )  # fmt: skip
    CanaryTokenizer.build_special_tokenizer(SPECIAL, str(folder / "spl"), force_rebuild=False)
    model = EncDecMultiTaskModel(cfg=OmegaConf.create(model_config(str(folder / "spl"), str(folder / "en"))))
    return model, SentencePieceProcessor(str(folder / "ctc" / "tokenizer.model"))


@torch.no_grad()
def prepare(
    model: EncDecMultiTaskModel, pieces: SentencePieceProcessor, planned: list[speech.Utterance]
) -> list[Example]:
    """Speak every planned utterance and compute the training examples, once.

    Args:
        model: for its preprocessor and tokenizers
        pieces: tokenizer of the CTC head
        planned: utterances to speak
    """
    started, examples = time.monotonic(), []
    model.eval()
    for utterance, wave in zip(planned, speech.speak(planned, workers=2), strict=True):
        signal = torch.from_numpy(wave).unsqueeze(0)
        features, lengths = model.preprocessor(input_signal=signal, length=torch.tensor([signal.shape[1]]))
        dialogs = {pnc: _encode(model, utterance.text, pnc) for pnc in ("yes", "no")}
        tokens = {pnc: dialog["input_ids"] for pnc, dialog in dialogs.items()}
        short = torch.tensor(pieces.encode(utterance.text)) + 1
        prompt_length = len(dialogs["no"]["context_ids"])
        examples.append(Example(features[0, :, : int(lengths)].half(), tokens, prompt_length, short))
    print(f"{len(examples)} utterances spoken in {time.monotonic() - started:.0f} s", flush=True)
    return examples


def train(model: EncDecMultiTaskModel, examples: list[Example], steps: int, rng: np.random.Generator) -> None:
    """Minimise CTC on the encoder first, then cross-entropy with CTC as an auxiliary loss.

    Args:
        model: changed in place
        examples: see ``prepare``
        steps: number of batches
        rng: source of the order and of the masks
    """
    ctc_head = nn.Linear(model.cfg.encoder.d_model, CTC_PIECES + 1)
    parameters = [*model.parameters(), *ctc_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warm_up_and_decay(s, WARM_UP_STEPS, steps))
    batches = like_long([example.features.shape[1] for example in examples], BATCH, rng)
    model.train()
    started = time.monotonic()
    for step in range(steps):
        batch, decode = [examples[i] for i in next(batches)], step >= min(CTC_STEPS, steps // 4)
        ctc, cross_entropy = _losses(model, ctc_head, batch, rng, decode)
        loss = ctc if cross_entropy is None else cross_entropy + CTC_WEIGHT * ctc
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            entropy = float("nan") if cross_entropy is None else cross_entropy.item()
            took_s = time.monotonic() - started
            print(f"step {step + 1}: ctc {ctc.item():.3f}, ce {entropy:.3f}, {took_s:.0f} s", flush=True)


def _losses(
    model: EncDecMultiTaskModel, ctc_head: nn.Linear, batch: list[Example], rng: np.random.Generator, decode: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the CTC loss a piece and, when decoding, the cross-entropy a token."""
    features = [_masked(example.features.float(), rng) for example in batch]
    lengths = torch.tensor([frames.shape[1] for frames in features])
    signal = nn.utils.rnn.pad_sequence([frames.T for frames in features], batch_first=True).transpose(1, 2)
    inputs: dict[str, Any] = {}
    tokens = [example.tokens["yes" if rng.random() < 0.5 else "no"] for example in batch]
    if decode:
        inputs["transcript"] = nn.utils.rnn.pad_sequence(
            [ids[:-1] for ids in tokens], batch_first=True, padding_value=model.tokenizer.pad
        )
        inputs["transcript_length"] = torch.tensor([len(ids) - 1 for ids in tokens])
    log_probs, encoded_lengths, states, _ = model(processed_signal=signal, processed_signal_length=lengths, **inputs)
    ctc = nn.functional.ctc_loss(
        ctc_head(states).log_softmax(-1).transpose(0, 1),
        torch.cat([example.pieces for example in batch]),
        encoded_lengths,
        torch.tensor([len(example.pieces) for example in batch]),
        zero_infinity=True,
    )
    if not decode:
        return ctc, None
    prompts = [example.prompt_length for example in batch]
    expected = [torch.cat([torch.full((n - 1,), -100), ids[n:]]) for n, ids in zip(prompts, tokens, strict=True)]
    labels = nn.utils.rnn.pad_sequence(expected, batch_first=True, padding_value=-100)
    return ctc, nn.functional.nll_loss(log_probs.transpose(1, 2), labels, ignore_index=-100)


def _encode(model: EncDecMultiTaskModel, text: str, pnc: str) -> dict[str, Tensor]:
    """Return ``context_ids``, the prompt, and ``input_ids``: prompt, words, end."""
    slots = {"source_lang": "en", "target_lang": "en", "task": "asr", "pnc": pnc, "prompt_language": "spl_tokens"}
    answer = {"text": text, "prompt_language": "en"}
    return model.prompt.encode_dialog([{"role": "user", "slots": slots}, {"role": "assistant", "slots": answer}])


def _masked(features: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the features with one band and one stretch of time set to their mean, 0."""
    features = features.clone()
    low, width = int(rng.integers(70)), int(rng.integers(12))
    begin, length = int(rng.integers(features.shape[1])), int(rng.integers(8))
    features[low : low + width] = 0
    features[:, begin : begin + length] = 0
    return features
