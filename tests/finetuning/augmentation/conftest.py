"""A folder of noises and impulse responses in the layout of MUSAN, small."""

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder with noise, music, speech and responses: ``rir/`` has a delta 100 samples late and a decay."""
    root = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(5)
    for name, seconds in (
        ("noise/free-sound/tap", 0.05),
        ("noise/free-sound/rain", 2.0),
        ("music/jamendo/song", 3.0),
        ("speech/librivox/read", 1.5),
    ):
        path = root / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(int(16_000 * seconds)), 16_000)
    (root / "noise" / "README").write_text("no recording\n")
    delta, decay = np.zeros(400), np.zeros(8000)
    delta[100] = 0.5
    decay[100:] = rng.standard_normal(7900) * np.exp(-np.arange(7900) / 1600)
    decay[100] = 8.0
    (root / "rir").mkdir()
    soundfile.write(root / "rir" / "delta.wav", delta, 16_000, subtype="FLOAT")
    soundfile.write(root / "rir" / "decay.wav", np.stack([decay / 8, -decay / 8], axis=1), 48_000, subtype="FLOAT")
    return root
