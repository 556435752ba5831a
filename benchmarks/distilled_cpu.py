"""The encoders of the distilled paper and of MERSA at their real sizes on a CPU: parameters, speed, memory.

``OMP_NUM_THREADS=1 python -m benchmarks.distilled_cpu`` prints a table. Nothing is downloaded: the configurations are
written out below, the weights are random, which changes neither figure. Each system has processes of its own.

=============== ======================================================================================================
parameters      of the encoders, without BERT's pooler, and of the head that the paper's table 1 implies: pooled vectors
                -> as wide as the audio encoder's -> 3. Its width is not written there, but with it all six rounded
                counts come out, and for DistilHuBERT and HuBERT with text no width below 698 or above 808 gives both
real-time       CPU seconds of one thread for a second of speech: utterances of 5 s one by one, and 22 tokens with them
factor          where there is text; from waveform and words to the last states, the median of ten
memory          the most that the process held, and of that what models and states brought above the libraries, in a
                second process that gives freed memory back at once: else it varies by 120 MB from run to run. It is a
                fifth slower, which is why it is another
=============== ======================================================================================================
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from pipeline_lib.command import run
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.rehearsal.published import configuration

SPEECH: dict[str, PretrainedConfig] = {
    "DistilHuBERT": configuration("ntu-spml/distilhubert"),
    "HuBERT base": configuration("facebook/hubert-base-ls960"),
    "wav2vec2-large-robust": configuration("facebook/wav2vec2-large-robust"),
    "VGGish": configuration("models/vggish"),
}
TEXT: dict[str, PretrainedConfig] = {
    "TinyBERT": configuration("huawei-noah/TinyBERT_General_4L_312D"),
    "BERT base": configuration("google-bert/bert-base-uncased"),
}
KEPT = {"wav2vec2-large-robust": 12}  # blocks
ATTRIBUTES = 3
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc gives a megabyte back at once, and not when it likes
SECONDS, TOKENS, ROUNDS = 5, 22, 10  # of an utterance; utterances


@dataclass(frozen=True)
class System:
    """Encoders that run together, and what the distilled paper's table 1 says they hold, in millions."""

    speech: str
    text: str | None = None
    published: int | None = None


SYSTEMS = {
    "DistilHuBERT": System("DistilHuBERT", published=24),
    "HuBERT base": System("HuBERT base", published=95),
    "w2v2-L-robust, 12 blocks": System("wav2vec2-large-robust", published=165),
    "DistilHuBERT + TinyBERT": System("DistilHuBERT", "TinyBERT", 39),
    "HuBERT base + TinyBERT": System("HuBERT base", "TinyBERT", 109),
    "w2v2-L-robust, 12 blocks + TinyBERT": System("wav2vec2-large-robust", "TinyBERT", 180),
    "VGGish": System("VGGish"),
    "VGGish + BERT base": System("VGGish", "BERT base"),
}


def build(name: str, device: torch.device) -> SpeechEncoder | TextEncoder:
    """Return an encoder with random weights; inside ``with torch.device("meta")`` with none."""
    with tempfile.TemporaryDirectory() as folder:
        (SPEECH | TEXT)[name].save_pretrained(folder)
        if name in TEXT:
            words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "word": 2}, unk_token="[UNK]"))
            words.pre_tokenizer = pre_tokenizers.Whitespace()
            PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained(folder)
        settings = EncoderSettings(checkpoint=folder, pretrained=False, layers_kept=KEPT.get(name))
        return (load_text if name in TEXT else load_speech)(settings, device)


def n_parameters(encoder: SpeechEncoder | TextEncoder) -> int:
    """Return how many weights an encoder holds."""
    return sum(part.numel() for part in encoder.parameters())


def head(speech_width: int, text_width: int = 0) -> int:
    """Return the weights of two layers: pooled vectors -> as wide as the audio encoder's -> three attributes."""
    return (speech_width + text_width + 1) * speech_width + (speech_width + 1) * ATTRIBUTES


def measure(system: System) -> dict[str, float]:
    """Return parameters, CPU seconds a second of speech, and bytes, of this process."""
    torch.set_num_threads(1)
    libraries = _peak_bytes()
    cpu = torch.device("cpu")
    encoders = [build(part, cpu) for part in (system.speech, system.text) if part]
    noise = np.random.default_rng(0)
    words = " ".join(["word"] * TOKENS)
    seconds = []
    for _ in range(ROUNDS + 1):
        waveform = (0.1 * noise.standard_normal(16_000 * SECONDS)).astype(np.float32)
        begun = time.process_time()
        for encoder in encoders:
            given = [words] if isinstance(encoder, TextEncoder) else [waveform]
            with torch.inference_mode():
                encoder(**encoder.prepare(given))
        seconds.append((time.process_time() - begun) / SECONDS)
    return {
        "encoders": sum(map(n_parameters, encoders)),
        "head": head(*(part.width for part in encoders)),
        "real_time_factor": statistics.median(seconds[1:]),  # the first warms up
        "peak": _peak_bytes(),
        "above": _peak_bytes() - libraries,
    }


def row(name: str, measured: dict[str, float]) -> str:
    """Return one line of the table."""
    published = SYSTEMS[name].published
    cells = [
        name,
        f"{measured['encoders']:,}",
        f"{(measured['encoders'] + measured['head']) / 1e6:.1f}" if published else "–",
        str(published or "–"),
        f"{measured['real_time_factor']:.3f}",
        f"{measured['peak'] / 1e6:,.0f}",
        f"{measured['above'] / 1e6:,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = (
    "encoders",
    "parameters",
    "with head, M",
    "paper says, M",
    "real-time factor",
    "peak MB",
    "above libraries MB",
)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(only: Annotated[str | None, typer.Option(help=f"one of {list(SYSTEMS)}, as JSON")] = None) -> None:
    """Print the table, or what one system takes."""
    if only is not None:
        print(json.dumps(measure(SYSTEMS[only])))
        return
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for name in SYSTEMS:
        timed, held = _measured(name, {}), _measured(name, RETURNING)
        print(row(name, {**timed, "peak": held["peak"], "above": held["above"]}), flush=True)


def _measured(name: str, environment: dict[str, str]) -> dict[str, float]:
    """Return what ``measure`` finds in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.distilled_cpu", "--only", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    run(main)
