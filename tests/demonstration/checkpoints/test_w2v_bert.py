"""What the small w2v-BERT is taught to read from the waveform: pitch and energy of signals whose values are known."""

import numpy as np
import pytest

from pipeline_lib.demonstration.checkpoints.w2v_bert import contour

TIME = np.arange(16_000) / 16_000


@pytest.mark.parametrize("hertz", [60, 80, 120, 200, 300, 390])
def test_the_pitch_of_a_harmonic_tone_is_its_fundamental(hertz):
    tone = sum(np.sin(2 * np.pi * hertz * k * TIME) / k for k in range(1, 6)).astype(np.float32) * 0.1
    pitch = contour(tone, 48)[:, 0].numpy()
    assert np.median(128 * 2**pitch) == pytest.approx(hertz, rel=0.01)  # lags are whole samples: 1 % at 390 Hz


def test_noise_has_no_pitch():
    noise = np.random.default_rng(1).normal(size=16_000).astype(np.float32) * 0.1
    assert contour(noise, 48)[:, 0].isnan().all()


def test_energy_is_relative_to_the_utterance_and_in_natural_logarithms():
    tone = np.sin(2 * np.pi * 200 * TIME).astype(np.float32) * np.where(TIME < 0.5, 0.1, 0.2)
    energy = contour(tone.astype(np.float32), 48)[:, 1].numpy()
    assert energy[30:45].mean() - energy[5:20].mean() == pytest.approx(np.log(4), abs=1e-2)  # twice as loud
    assert energy.mean() == pytest.approx(0, abs=1e-5)
