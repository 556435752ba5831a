"""Tiny corpora: recordings are tones, each with its own pitch."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib.params.corpus import CorpusSettings

EMOTIONS = {"01": 1, "02": 2, "03": 2, "04": 2, "05": 2, "06": 2, "07": 2, "08": 2}  # neutral has no strong intensity


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


@pytest.fixture
def ravdess(tmp_path, say):
    """Write six actors with every emotion twice, neutral once."""
    for actor in range(1, 7):
        for emotion, times in EMOTIONS.items():
            for intensity in range(1, times + 1):
                name = f"03-01-{emotion}-{intensity:02d}-01-01-{actor:02d}.flac"
                say(tmp_path / f"Actor_{actor:02d}" / name)
    return tmp_path
