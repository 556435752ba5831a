"""Encoders of every architecture, loaded once a run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.params.encoder import EncoderSettings
from tests.encoders import checkpoints

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return where the tiny checkpoint of a name lies."""
    folder, written = tmp_path_factory.mktemp("checkpoints"), {}
    return lambda name: (
        written.setdefault(name, None) or written.__setitem__(name, checkpoints.write(folder, name)) or written[name]
    )


@pytest.fixture
def load(checkpoint):
    """Return a loader: name and settings to an encoder."""

    def loader(name: str, **settings):
        given = EncoderSettings(checkpoint=str(checkpoint(name)), **settings)
        return (load_text if name in checkpoints.TEXT | checkpoints.FOUR_BIT else load_speech)(given, CPU)

    return loader


@pytest.fixture(scope="session")
def waveforms() -> list[np.ndarray]:
    """Noise at different levels and with different offsets, 0.3 s to 1.6 s."""
    noise = np.random.default_rng(0)
    lengths = [9_000, 25_600, 4_800, 16_123]
    return [(noise.standard_normal(n) * 0.05 * (i + 1) + 0.01 * i).astype(np.float32) for i, n in enumerate(lengths)]
