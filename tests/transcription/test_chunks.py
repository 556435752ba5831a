"""Cutting and joining against pauses put in by hand."""

import numpy as np
import pytest

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.transcription.chunks import cut, is_silent, join


def noise(seconds: float, *pauses: tuple[float, float]) -> np.ndarray:
    """Return white noise with silence between the given seconds."""
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * SAMPLE_RATE)).astype(np.float32)
    for start, end in pauses:
        waveform[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] = 0
    return waveform


def test_what_fits_stays_whole():
    waveform = noise(4.0)
    (piece,) = cut(waveform, 4.0)
    assert piece is waveform


def test_the_cut_lies_in_the_pause():
    first, second = cut(noise(6.0, (3.3, 3.7)), 4.0)
    assert 3.3 < len(first) / SAMPLE_RATE < 3.7
    assert len(first) + len(second) == 6 * SAMPLE_RATE


def test_a_pause_before_the_last_quarter_of_the_piece_is_not_taken():
    first, _ = cut(noise(6.0, (1.0, 1.4)), 4.0)
    assert 3.0 <= len(first) / SAMPLE_RATE <= 4.0


def test_of_two_pauses_the_quieter_is_taken():
    waveform = noise(6.0, (3.7, 3.95))
    waveform[int(3.1 * SAMPLE_RATE) : int(3.4 * SAMPLE_RATE)] *= 0.01
    first, _ = cut(waveform, 4.0)
    assert 3.7 < len(first) / SAMPLE_RATE < 3.95


@pytest.mark.parametrize("seconds", [4.01, 5.0, 7.99, 8.0, 8.01, 23.7])
def test_pieces_join_to_the_recording_and_none_is_too_long_or_a_crumb(seconds):
    waveform = noise(seconds, (3.5, 3.6), (6.6, 7.2))
    pieces = cut(waveform, 4.0)
    np.testing.assert_array_equal(np.concatenate(pieces), waveform)
    assert max(map(len, pieces)) <= 4 * SAMPLE_RATE
    assert min(map(len, pieces)) >= 1 * SAMPLE_RATE


def test_noise_of_minus_62_db_is_silent_at_minus_60_and_not_at_minus_64():
    waveform = np.full(SAMPLE_RATE, 10 ** (-62 / 20), dtype=np.float32)
    assert is_silent(waveform, -60)
    assert not is_silent(waveform, -64)


def test_one_loud_frame_is_enough_to_be_transcribed():
    waveform = np.zeros(SAMPLE_RATE, dtype=np.float32)
    waveform[8_000:8_400] = 0.1
    assert not is_silent(waveform, -60)


def test_nothing_at_all_is_silent():
    assert is_silent(np.zeros(0, dtype=np.float32), -60)


def test_joining_leaves_single_spaces():
    assert join([" one  two", "", "three "]) == "one two three"
