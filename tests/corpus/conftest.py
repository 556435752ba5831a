"""Tiny corpora: recordings are tones, each with its own pitch."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib.params.corpus import CorpusSettings


@pytest.fixture
def say():
    """Write a tone of 0.2 s; no two have the same bytes."""
    pitches = count(200)

    def write(path: Path, seconds: float = 0.2, rate: int = 16_000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        hertz = next(pitches)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)
        return path

    return write


@pytest.fixture
def settings(tmp_path):
    """Return settings of a reader with the test's folder as root."""

    def make(reader: str, **more) -> CorpusSettings:
        values = {"reader": reader, "root": str(tmp_path), **more}
        return CorpusSettings.parse(values, "corpus")

    return make
