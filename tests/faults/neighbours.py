"""An utterance alone against the same one in any batch, for every encoder class: at most 1e-5 apart, every layer.

Encoders are the tiny ones of every architecture and the small checkpoints that ship. Batches are drawn: one to seven
neighbours of any length, level and offset, silence among them; the utterance stands anywhere.
"""

import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.params.encoder import EncoderSettings
from tests.encoders import checkpoints
from tests.faults.cases import Case, command

CPU = torch.device("cpu")
LIMIT = 1e-5
SHIPPED = {"shipped w2v-BERT": "models/demo/w2v_bert", "shipped LLaMA": "models/demo/llama"}
NAMES = (*checkpoints.SPEECH, *checkpoints.TEXT, *SHIPPED)
TEXTS = (*checkpoints.TEXT, "shipped LLaMA")


@cache
def encoder(name: str, folder: Path) -> torch.nn.Module:
    """Return the encoder of a name."""
    place = SHIPPED.get(name) or checkpoints.write(folder, name)
    return (load_text if name in TEXTS else load_speech)(EncoderSettings(checkpoint=str(place)), CPU)


def waveform(rng: np.random.Generator) -> np.ndarray:
    """Return 35 ms to 1.8 s of noise, a tone, a click or silence, at any level and offset."""
    n = int(rng.choice([560, 801, int(rng.integers(562, 29_000))], p=[0.1, 0.1, 0.8]))
    kind = rng.integers(5)
    sound = rng.standard_normal(n) if kind < 3 else np.sin(np.arange(n) / rng.uniform(2, 50))
    if kind == 4:
        sound = np.zeros(n)
        sound[n // 2] = 1.0
    return np.clip(sound * 10 ** rng.uniform(-3, -0.5) + rng.uniform(-0.05, 0.05), -1, 1).astype(np.float32)


def text(rng: np.random.Generator) -> str:
    """Return up to twenty words."""
    return " ".join(rng.choice(checkpoints.WORDS, size=int(rng.integers(0, 21))))


def compared(name: str, folder: Path, seed: int, number: int, _: Path) -> None:
    """Compare one utterance alone with itself among neighbours."""
    rng = np.random.default_rng([seed, number])
    draw = text if name in TEXTS else waveform
    model, mine = encoder(name, folder), draw(rng)
    batch = [draw(rng) for _ in range(int(rng.integers(1, 8)))]
    place = int(rng.integers(len(batch) + 1))
    batch.insert(place, mine)
    with torch.no_grad():
        alone, together = model(**model.prepare([mine])), model(**model.prepare(batch))
    n = int(alone.lengths[0])
    assert int(together.lengths[place]) == n, f"{int(together.lengths[place])} frames, alone {n}"
    for layer, (one, other) in enumerate(zip(together.layers, alone.layers, strict=True)):
        away = torch.linalg.norm(one[place, :n] - other[0, :n]) / torch.linalg.norm(other[0, :n]).clamp_min(1e-30)
        assert away <= LIMIT, f"layer {layer} is {away:.3e} apart at place {place} of {len(batch)}"


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield batches, every encoder in turn."""
    with tempfile.TemporaryDirectory(prefix="fault_encoders_") as place:
        for number in range(count):
            name = NAMES[number % len(NAMES)]
            yield Case(f"batch {number}", name, partial(compared, name, Path(place), seed, number))


if __name__ == "__main__":
    command("neighbours", cases, 1700)
