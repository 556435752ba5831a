"""Each condition against what it is by definition, measured from what comes out."""

import numpy as np
import pytest
import scipy.signal
import soundfile

from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.robustness.codec import coded
from pipeline_lib.robustness.conditions import Sources, Unaltered, altered, clipped, generator, limited
from pipeline_lib.robustness.levels import CLEAN, Level
from tests.robustness.corpora import room, speech

SPEECH = speech(3, 1.0)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sounds")
    for name, samples in (("hiss", speech(1, 3.0)), ("hum", speech(2, 0.2)), ("rir/hall", room(0.6))):
        (root / name).parent.mkdir(exist_ok=True)
        soundfile.write(root / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    return Sources(sounds.noises_in(root), {"0.5-1": sounds.responses_in(root)})


def made(level, sources=None, seed=1, utterance="u", waveform=SPEECH):
    return altered(waveform, level, generator(seed, utterance, level.condition), sources or Sources())


@pytest.mark.parametrize("decibels", [20, 5, 0, -3])
def test_the_mix_has_the_ratio_of_its_level(decibels, sources):
    added = made(Level("noise", str(decibels)), sources).astype(np.float64) - SPEECH
    measured = 10 * np.log10(np.sum(SPEECH.astype(np.float64) ** 2) / np.sum(added**2))
    assert measured == pytest.approx(decibels, abs=1e-3)


def test_the_levels_of_a_condition_have_one_noise_and_differ_in_its_loudness(sources):
    loud, soft = (made(Level("noise", level), sources) - SPEECH for level in ("0", "20"))
    np.testing.assert_allclose(loud, 10 * soft, atol=1e-5)


def test_draws_follow_from_seed_and_utterance(sources):
    level = Level("noise", "5")
    np.testing.assert_array_equal(made(level, sources), made(level, sources))
    assert not np.array_equal(made(level, sources), made(level, sources, seed=2))
    assert not np.array_equal(made(level, sources), made(level, sources, utterance="v"))


def test_a_room_is_scipys_convolution_from_the_direct_sound_on_at_the_same_energy(sources):
    wet = made(Level("rooms", "0.5-1"), sources).astype(np.float64)
    response = room(0.6, direct=20).astype(np.float64)
    expected = scipy.signal.fftconvolve(SPEECH.astype(np.float64), response)[20 : 20 + len(SPEECH)]
    expected *= np.sqrt(np.sum(SPEECH.astype(np.float64) ** 2) / np.sum(expected**2))
    np.testing.assert_allclose(wet, expected, atol=2e-6)


@pytest.mark.parametrize(("low", "high"), [(0.0, 4.0), (0.3, 3.4), (0.0, 1.0)])
def test_no_energy_is_left_outside_a_band_and_nothing_inside_is_changed(low, high):
    white = np.random.default_rng(5).standard_normal(32_000).astype(np.float32)
    before, after = (np.fft.rfft(x[4_000:-4_000] * np.hanning(24_000)) for x in (white, limited(white, low, high)))
    hertz = np.fft.rfftfreq(24_000, 1 / 16_000)
    outside = (hertz > 1000 * high + 80) | (hertz < 1000 * low - 80)
    inside = (hertz < 1000 * high - 80) & (hertz > max(0, 1000 * low + 80))
    assert np.sum(np.abs(after[outside]) ** 2) < 1e-7 * np.sum(np.abs(before[outside]) ** 2)
    np.testing.assert_allclose(after[inside], before[inside], atol=2e-3 * np.abs(before).max())  # its phase as well


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25])
def test_the_share_of_samples_at_full_scale_is_that_of_the_level(share):
    cut = clipped(SPEECH, share)
    size = np.abs(cut)
    assert np.sum(size >= size.max() * (1 - 1e-6)) == round(share * len(cut))
    assert np.sum(cut.astype(np.float64) ** 2) == pytest.approx(np.sum(SPEECH.astype(np.float64) ** 2), rel=1e-5)
    below = size < size.max() * (1 - 1e-6)
    np.testing.assert_allclose(cut[below] / SPEECH[below], (cut[below] / SPEECH[below])[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("codec", "kbps", "alike"),
    [("mp3", 64, 0.9), ("mp3", 24, 0.6), ("mp3", 8, 0.3), ("opus", 24, 0.6), ("opus", 12, 0.3), ("mulaw", 0, 0.6),
     ("alaw", 0, 0.6), ("gsm", 0, 0.4)],
)  # fmt: skip
@pytest.mark.parametrize("n_samples", [16_000, 12_345])
def test_a_codec_keeps_length_and_timing_and_loses_something(codec, kbps, alike, n_samples):
    waveform = SPEECH[:n_samples]
    back = coded(waveform, codec, kbps)
    assert back.shape == waveform.shape and back.dtype == np.float32
    correlation = scipy.signal.correlate(back, waveform, "full")
    assert abs(int(np.argmax(correlation)) - (n_samples - 1)) <= 1
    assert alike < np.corrcoef(back, waveform)[0, 1] < 0.99999
    np.testing.assert_array_equal(back, coded(waveform, codec, kbps))


def test_less_bitrate_loses_more():
    for codec in ("mp3", "opus"):
        alike = [np.corrcoef(coded(SPEECH, codec, kbps), SPEECH)[0, 1] for kbps in (96, 32, 8)]
        assert alike == sorted(alike, reverse=True)


def test_clean_is_the_waveform_itself():
    assert made(CLEAN) is SPEECH


def test_what_cannot_be_had_is_refused_by_its_reason(sources, tmp_path):
    with pytest.raises(Unaltered, match="quieter than -80 dB"):
        made(CLEAN, waveform=np.full(1000, 5e-5, np.float32))
    with pytest.raises(Unaltered, match="digital silence"):
        clipped(np.array([0, 0, 0, 0.5], np.float32), 0.5)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(20_000), 16_000)
    with pytest.raises(Unaltered, match="no sound in 100 stretches"):
        made(Level("noise", "0"), Sources(sounds.noises_in(tmp_path)))


def test_a_silent_stretch_of_noise_is_drawn_again(tmp_path):
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros(160_000), speech(1, 2.0)]), 16_000)
    late = Sources(sounds.noises_in(tmp_path))
    for utterance in "abcdefgh":
        added = made(Level("noise", "10"), late, utterance=utterance) - SPEECH
        assert augment.power(added) == pytest.approx(augment.power(SPEECH) / 10, rel=1e-3)
