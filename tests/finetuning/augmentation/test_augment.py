"""Noise, rooms and speed against what they are by definition."""

import numpy as np
import pytest
import soundfile

from pipeline_lib.finetuning.augmentation import augment, rooms, sounds
from pipeline_lib.finetuning.augmentation.rooms import Response
from pipeline_lib.finetuning.augmentation.sounds import Sound
from pipeline_lib.params.augmentation import AugmentationSettings

RNG = np.random.default_rng(0)
SPEECH = 0.1 * RNG.standard_normal(16_000)
NOISE = 0.03 * RNG.standard_normal(16_000)


@pytest.mark.parametrize(("snr_db", "ratio"), [(0.0, 1.0), (10.0, 10.0), (-3.0, 0.5011872336272722), (20.0, 100.0)])
def test_noise_is_added_at_the_ratio_of_mean_powers(snr_db, ratio):
    added = augment.noisy(SPEECH, NOISE, snr_db) - SPEECH
    assert np.sum(SPEECH**2) / np.sum(added**2) == pytest.approx(ratio, rel=1e-9)
    np.testing.assert_allclose(added / added[0], NOISE / NOISE[0], rtol=1e-9)


def test_a_ratio_worked_by_hand():
    # P(x) = 4, P(n) = 1/4; at 10 log10(4) dB the noise as added has power 1: twice the noise
    augmented = augment.noisy(np.array([2.0, -2.0]), np.array([0.5, 0.5]), 10 * np.log10(4))
    np.testing.assert_allclose(augmented, [3.0, -1.0], rtol=1e-12)


@pytest.mark.parametrize(("speech", "noise"), [(SPEECH, 0 * NOISE), (0 * SPEECH, NOISE), (SPEECH, 1e-4 * NOISE)])
def test_silence_gets_no_noise_and_is_none(speech, noise):
    assert augment.noisy(speech, noise, 0.0) is speech


def test_a_delta_at_any_lag_changes_nothing():
    for lag in (0, 1, 77):
        augmented = augment.reverberant(SPEECH, Response(0.3 * np.eye(1, 200, lag)[0], lag))
        np.testing.assert_allclose(augmented, SPEECH, atol=1e-12)


def test_reverberation_is_numpys_convolution_from_the_direct_sound_on_at_the_same_energy():
    response = Response(RNG.standard_normal(3000) * np.exp(-np.arange(3000) / 500), 40)
    augmented = augment.reverberant(SPEECH, response)
    expected = np.convolve(SPEECH, response.samples)[40 : 40 + len(SPEECH)]
    np.testing.assert_allclose(augmented / augmented[7], expected / expected[7], rtol=1e-6, atol=1e-9)
    assert np.sum(augmented**2) == pytest.approx(np.sum(SPEECH**2), rel=1e-12)


def test_a_response_longer_than_the_chunk_and_a_silent_one_are_taken():
    augmented = augment.reverberant(SPEECH[:50], Response(RNG.standard_normal(3000), 0))
    assert augmented.shape == (50,)
    assert augment.reverberant(SPEECH, Response(np.zeros(10), 0)) is SPEECH
    assert np.array_equal(augment.reverberant(np.zeros(10), Response(np.ones(10), 0)), np.zeros(10))


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.25])
def test_speed_changes_tempo_and_pitch_by_its_factor(speed):
    n = 32_000
    tone = np.sin(2 * np.pi * 440 * np.arange(n) / 16_000).astype(np.float32)
    augmented = augment.played(tone, speed)
    assert len(augmented) == round(n / speed)
    spectrum = np.abs(np.fft.rfft(augmented * np.hanning(len(augmented)), 1 << 19))
    assert np.argmax(spectrum) * 16_000 / (1 << 19) == pytest.approx(440 * speed, abs=0.05)
    assert augment.played(tone, 1.0) is tone


def test_a_stretch_lies_where_its_place_says_and_only_it_is_decoded(folder, monkeypatch):
    path = folder / "music" / "jamendo" / "song.wav"
    whole, _ = soundfile.read(path, dtype="float32")
    reads, decode = [], augment.decode
    monkeypatch.setattr(augment, "decode", lambda *where: reads.append(where[1:]) or decode(*where))
    result = augment.stretch(Sound("song.wav", path, "music", 3.0, 1), 16_000, 0.25)
    np.testing.assert_array_equal(result, whole[8_000:24_000])
    assert reads == [(0.5, 1.0)]


def test_a_recording_shorter_than_the_chunk_is_repeated_from_a_place_of_it_on(folder):
    path = folder / "noise" / "free-sound" / "tap.wav"
    whole, _ = soundfile.read(path, dtype="float32")
    result = augment.stretch(Sound("tap.wav", path, "noise", 0.05, 1), 2_000, 0.5)
    np.testing.assert_array_equal(result, np.concatenate([whole[400:], whole, whole])[:2_000])


def made(folder, **changes):
    """Return an augmentation on the folder with every chunk noisy and reverberant, or as changed."""
    entry = {
        "noise": {"probability": 1.0, "root": str(folder), **changes.get("noise", {})},
        "reverberation": {"probability": 1.0, "root": str(folder), **changes.get("reverberation", {})},
    }
    settings = AugmentationSettings.model_validate(entry)
    return augment.make(settings, sounds.find(settings), 1, changes.get("minimum_samples", 1), show_progress=False)


def test_a_chunk_keeps_its_type_and_length_and_follows_from_its_seed(folder):
    chunk, augmentation = SPEECH.astype(np.float32), made(folder)
    augmented = [augmentation(chunk, seed, 1.0) for seed in (1, 1, 2)]
    assert [each.dtype for each in augmented] == [np.float32] * 3
    assert augmented[0].shape == chunk.shape
    assert augmented[0].tobytes() == augmented[1].tobytes()
    assert not np.allclose(augmented[0], augmented[2])
    assert all(np.isfinite(augmentation(0 * chunk, seed, 1.1)).all() for seed in range(20))


def test_each_category_is_added_at_its_own_ratios(folder):
    ranges = {"noise": [0.0, 1.0], "music": [20.0, 21.0], "speech": [40.0, 41.0]}
    augmentation = made(folder, noise={"snr_db": ranges}, reverberation={"probability": 0.0})
    chunk = SPEECH.astype(np.float32)
    ratios = [
        10 * np.log10(np.mean(chunk**2) / np.mean((augmentation(chunk, seed, 1.0) - chunk) ** 2)) for seed in range(60)
    ]
    counts = [sum(low - 1e-3 <= each <= high + 1e-3 for each in ratios) for low, high in ranges.values()]
    assert sum(counts) == 60
    assert counts[0] > counts[1] > 0  # two files of noise, one each of the others
    assert counts[2] > 0


def test_so_many_chunks_are_augmented_as_the_probability_says(folder):
    chunk = SPEECH[:200].astype(np.float32)
    noisy = made(folder, noise={"probability": 0.3}, reverberation={"probability": 0.0})
    settings = AugmentationSettings.model_validate({"reverberation": {"probability": 0.7}})
    wet = augment.Augmentation(settings, [], [Response(np.array([1.0, 0.5], np.float32), 0)])
    for augmentation, probability in ((noisy, 0.3), (wet, 0.7)):
        changed = np.mean([not np.array_equal(augmentation(chunk, seed, 1.0), chunk) for seed in range(500)])
        assert changed == pytest.approx(probability, abs=0.08)  # four standard deviations


def test_a_chunk_that_speed_makes_too_short_for_the_encoder_is_filled_up(folder):
    augmentation = made(folder, minimum_samples=400)
    assert len(augmentation(SPEECH[:400].astype(np.float32), 3, 1.1)) == 400


def test_nothing_asked_for_makes_no_augmentation():
    settings = AugmentationSettings()
    assert augment.make(settings, sounds.find(settings), 1, 1, show_progress=False) is None


def test_rooms_are_simulated_where_no_folder_is_given():
    entry = {"reverberation": {"probability": 1.0, "rooms": 3, "rt60_s": [0.15, 0.2]}}
    settings = AugmentationSettings.model_validate(entry)
    augmentation = augment.make(settings, sounds.find(settings), 1, 1, show_progress=True)
    assert len(augmentation.responses) == 3
    assert all(isinstance(each, rooms.Response) for each in augmentation.responses)
    assert augmentation(SPEECH.astype(np.float32), 1, 1.0).dtype == np.float32
