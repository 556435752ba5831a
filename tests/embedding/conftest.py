"""Ten short recordings with texts and labels, and an entry of params.yaml that embeds them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.embedding import shard
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.tables.manifest import Manifest
from tests.encoders import checkpoints

TEXTS = [
    "i am happy",
    "",
    "the a so very sad and angry not today",
    "we",
    "you are so angry",
    "it",
    "sad",
    "",
    "a",
    "am i",
]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return where the tiny checkpoint of a name lies."""
    folder, written = tmp_path_factory.mktemp("checkpoints"), {}

    def find(name: str) -> Path:
        if name not in written:
            written[name] = checkpoints.write(folder, name)
        return written[name]

    return find


@pytest.fixture
def corpus(tmp_path) -> Manifest:
    """A manifest whose audio lies in ``tmp_path / "audio"``; u3 is shorter than a frame of 25 ms."""
    noise = np.random.default_rng(0)
    lengths = [9_000, 25_600, 4_800, 300, 16_123, 8_000, 12_000, 5_000, 7_777, 20_000]
    (tmp_path / "audio").mkdir()
    rows = []
    for i, n in enumerate(lengths):
        soundfile.write(tmp_path / "audio" / f"u{i}.wav", 0.1 * noise.standard_normal(n), 16_000, subtype="FLOAT")
        row = {"utterance_id": f"u{i}", "audio": f"u{i}.wav", "audio_sha256": f"{i:064d}", "duration_s": n / 16_000}
        row |= {"split": "dev" if i > 5 else "train", "subsets": [], "emotion": "ab"[i % 2], "arousal": 1.0 + i % 3}
        rows.append(row | {"valence": np.nan, "dominance": np.nan, "reference_text": TEXTS[i]})
    return Manifest(pd.DataFrame(rows), "noise", ("a", "b"), notice="noise, not speech")


class Calls(list):
    """Identifiers of the forward passes; ``fails`` is the number of those before the one that is short of memory."""

    fails: int | None = None


@pytest.fixture
def calls(monkeypatch) -> Calls:
    """Record the utterances of every forward pass."""
    real, made = shard.embed_batch, Calls()

    def counted(encoder, inputs, ids, *args, **kwargs):
        if len(made) == made.fails:
            raise MemoryError
        made.append(list(ids))
        return real(encoder, inputs, ids, *args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", counted)
    return made


@pytest.fixture
def entry(checkpoint):
    """Return settings of an entry with the tiny checkpoint of a name."""

    def make(name: str, **values) -> EmbeddingSettings:
        given = {
            "modality": "text" if name in checkpoints.TEXT else "audio",
            "encoder": {"checkpoint": str(checkpoint(name))},
            "batch": {"size": 3},
            "shard_size": 4,
            **values,
        }
        return EmbeddingSettings.parse(given, f"embedding.{name}")

    return make
