"""How many channels become one: the rule, each order of channels, and the same for chunks as for the whole."""

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.containers import channels, layout, reading
from tests.audio.containers.built import RATE, SOUND, at, encoded, equals, extensible, wav
from tests.recordings import noise

HISS = noise(1.0, RATE, 8)[:, :8] * 0.02


def surround(n_channels: int, index: int, level: float = 1.0) -> np.ndarray:
    samples = HISS[:, :n_channels].copy()
    samples[:, index] = level * SOUND
    return samples


@pytest.mark.parametrize(("gain", "rule"), [(-1, "loudest"), (-0.98, "loudest"), (-0.5, "loudest"), (-0.3, "mean")])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_that_cancel_give_the_louder_one(tmp_path, gain, rule, kind):
    for pair in ([SOUND, gain * SOUND], [gain * SOUND, SOUND]):
        path = at(tmp_path, encoded(np.stack(pair, 1), kind, "PCM_16"))
        expected = np.mean(pair, axis=0) if rule == "mean" else pair[0] if gain == -1 else SOUND
        assert decoding.examine(path).mixing == rule
        equals(path, soundfile.read(path, dtype="float32")[0].mean(axis=1) if rule == "mean" else expected, 1e-6)
        np.testing.assert_allclose(decoding.check(path), expected, atol=4e-5)


def test_a_chunk_is_mixed_as_the_whole_is_though_it_alone_would_not_be(tmp_path):
    start = np.stack([SOUND, SOUND], 1) * 0.5  # in phase for a second, then inverted and louder
    path = at(tmp_path, encoded(np.concatenate([start, *[np.stack([SOUND, -SOUND], 1)] * 3]), "FLAC", "PCM_16"))
    reading.Reading.decisions.clear()
    chunk = decoding.decode(path, 0.2, 0.5)  # before anything else was read
    whole = decoding.examine(path)
    assert whole.mixing == "loudest"
    np.testing.assert_array_equal(chunk, whole.samples[3_200:11_200])
    np.testing.assert_allclose(whole.samples[RATE : 2 * RATE], SOUND, atol=4e-5)


def test_ordinary_stereo_is_averaged_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(2)
    room = 0.1 * rng.standard_normal((RATE, 2))
    for pair in (np.stack([SOUND, SOUND], 1), SOUND[:, None] + room, room, np.stack([SOUND, 0 * SOUND], 1)):
        path = at(tmp_path, encoded(pair, "WAV", "PCM_16"))
        decoded, _ = soundfile.read(path, dtype="float32")
        assert decoding.examine(path).mixing == "mean"
        np.testing.assert_array_equal(decoding.check(path), decoded.mean(axis=1))


@pytest.mark.parametrize(
    ("kind", "subtype", "index", "tolerance"),
    [
        *(("WAV", "PCM_16", 2, 0), ("WAVEX", "PCM_16", 2, 0), ("FLAC", "PCM_16", 2, 0), ("AIFF", "PCM_16", 2, 0)),
        *(("CAF", "PCM_16", 2, 0), ("AU", "PCM_16", 2, 0), ("OGG", "VORBIS", 1, 0.05), ("OGG", "OPUS", 1, 0.05)),
    ],
)
@pytest.mark.parametrize("n_channels", [6, 8])
def test_the_centre_of_surround_sound_is_taken(tmp_path, kind, subtype, index, tolerance, n_channels):
    path = at(tmp_path, encoded(surround(n_channels, index), kind, subtype))
    result = decoding.examine(path)
    assert result.mixing == "centre"
    inner = slice(100, -100)  # a codec's edges
    np.testing.assert_allclose(result.samples[inner], SOUND[inner], atol=max(tolerance, 1e-6))
    np.testing.assert_array_equal(decoding.decode(path, 0.5, 0.1), result.samples[8_000:9_600])


def test_a_centre_without_sound_is_none(tmp_path):
    samples = surround(6, 0)
    samples[:, 1] = 0.8 * np.roll(SOUND, 300)
    path = at(tmp_path, encoded(samples, "FLAC", "PCM_16"))
    assert decoding.examine(path).mixing == "mean"
    path = at(
        tmp_path, encoded(surround(6, 0), "FLAC", "PCM_16")
    )  # the sound of one channel alone is not divided by six
    assert decoding.examine(path).mixing == "loudest"
    np.testing.assert_allclose(decoding.check(path), SOUND, atol=4e-5)


@pytest.mark.parametrize(
    ("mask", "n_channels", "centre"),
    [
        (0x3F, 6, 2),
        (0x60F, 6, 2),
        (0x63F, 8, 2),
        (0x37, 5, 2),
        (0x7, 3, 2),
        (0x5, 3, 1),
        (0x3, 2, None),
        (0x33, 4, None),
    ]
    + [(0, 6, None), (0xC, 2, None)],
)
def test_the_mask_of_a_wav_says_where_the_centre_is(tmp_path, mask, n_channels, centre):
    assert layout.by_mask(mask, n_channels) == centre
    samples = surround(n_channels, centre or 0)
    samples[:, n_channels - 1] += 0.5 * np.roll(SOUND, 200)
    data = np.round(samples * 32_768).astype("<i2").tobytes()
    result = decoding.examine(at(tmp_path, wav(data, fmt=extensible(16, 2, n_channels, mask))))
    assert result.mixing == ("mean" if centre is None else "centre")


@pytest.mark.parametrize(
    ("tag", "mask", "n_channels", "centre"),
    [(121 << 16 | 6, 0, 6, 2), (123 << 16 | 6, 0, 6, 1), (124 << 16 | 6, 0, 6, 0), (121 << 16 | 6, 0, 5, None)]
    + [(0x10000, 0x3F, 6, 2), (101 << 16 | 2, 0, 2, None), (0, 0, 6, None)],
)
def test_core_audio_s_layouts(tag, mask, n_channels, centre):
    assert layout.by_tag(tag, mask, n_channels) == centre


def test_the_rule_by_hand():
    energies = channels.Energies(2, 3)
    energies.add(np.array([[1.0, -0.5], [1.0, -0.5], [1.0, -0.5], [9.0, 9.0]], np.float32))  # the fourth is too late
    np.testing.assert_allclose(energies.of_each, [3.0, 0.75])
    assert energies.of_sum == 3 * 0.25 and energies.mixing() == channels.Mixing("loudest", 0)  # 0.75 < 3.75 / 4
    energies = channels.Energies(2, 3)
    energies.add(np.array([[1.0, -0.4]], np.float32))  # 0.36 against 1.16 / 4 = 0.29
    assert energies.mixing() == channels.Mixing()


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_channels_that_cancel_for_a_part_of_the_time_are_not_averaged(tmp_path, share):
    left = np.tile(SOUND, 10)
    right = np.where(np.arange(len(left)) < share * len(left), -left, left)
    path = at(tmp_path, encoded(np.stack([left, right], 1), "WAV", "PCM_16"))
    examined = decoding.examine(path)
    assert examined.mixing == "loudest"
    np.testing.assert_array_equal(examined.samples, left)
    np.testing.assert_array_equal(decoding.decode(path, 7.5, 1.0), left[120_000:136_000])


def test_a_moment_of_opposite_phase_leaves_the_mean(tmp_path):
    left = np.tile(SOUND, 20)
    right = np.where(np.arange(len(left)) < RATE, -left, left)
    assert decoding.examine(at(tmp_path, encoded(np.stack([left, right], 1), "WAV", "PCM_16"))).mixing == "mean"
