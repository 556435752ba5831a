"""Impulse responses: reverberation time by Schroeder's integral written out, direct sound by the speed of sound."""

import numpy as np
import pytest
import soundfile

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.augmentation import rooms


def reverberation_time(samples):
    """Return T20: three times what the energy that is still to come takes from -5 to -25 dB."""
    to_come = np.cumsum(samples[::-1].astype(np.float64) ** 2)[::-1]
    decay = 10 * np.log10(to_come / to_come[0])
    return 3 * (np.argmax(decay <= -25) - np.argmax(decay <= -5)) / 16_000


def test_schroeders_integral_finds_an_exponential_decay():
    # energy falls by 60 dB in 0.5 s: amplitude 10 ** (-3 t / 0.5)
    decay = 10 ** (-6 * np.arange(16_000) / 16_000) * np.random.default_rng(0).choice([-1, 1], 16_000)
    assert reverberation_time(decay) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("rt60_s", [0.35, 0.5])
def test_a_room_of_like_sides_has_the_reverberation_time_that_was_asked_for(rt60_s):
    response = rooms.simulate(np.array([5.0, 4.5, 4.0]), rt60_s, np.random.default_rng(1))
    assert reverberation_time(response.samples) == pytest.approx(rt60_s, rel=0.2)


def test_drawn_rooms_have_it_within_the_documented_bounds():
    for number, response in enumerate(rooms.simulated(5, (0.2, 0.4), seed=3)):
        rng = np.random.default_rng([3, rooms._SEED, number])
        rng.uniform(rooms.SMALLEST_M, rooms.LARGEST_M)
        assert 0.6 < reverberation_time(response.samples) / rng.uniform(0.2, 0.4) < 1.75


def test_images_left_out_do_not_change_the_measured_time(monkeypatch):
    sides, times = np.array([4.0, 3.5, 2.8]), []
    for share in (1.0, rooms.COMPLETE):
        monkeypatch.setattr(rooms, "COMPLETE", share)
        times.append(reverberation_time(rooms.simulate(sides, 0.4, np.random.default_rng(2)).samples))
    assert times[0] == pytest.approx(times[1], rel=0.01)


def test_the_same_seed_gives_the_same_rooms_however_many_there_are():
    def drawn(count, seed):
        return [(response.samples.tobytes(), response.direct) for response in rooms.simulated(count, (0.15, 0.2), seed)]

    assert drawn(3, 1)[:2] == drawn(2, 1)
    assert drawn(2, 1) != drawn(2, 2)
    assert len(set(drawn(3, 1))) == 3


def test_the_direct_sound_is_where_the_first_wave_arrives():
    response = rooms.simulate(np.array([5.0, 4.0, 3.0]), 0.2, np.random.default_rng(4))
    size = np.abs(response.samples)
    assert size[: response.direct - 5].max() < 0.3 * size[response.direct - 1 : response.direct + 2].max()


def test_a_room_too_large_for_its_time_is_made_smaller_in_proportion():
    # Sabine: 24 ln 10 / 343 V / (S RT60) = 0.16112 * 400 / (360 * 0.1) = 1.790: made smaller by 0.8 / 1.790
    sides = rooms.fitting(np.array([10.0, 10.0, 4.0]), 0.1)
    np.testing.assert_allclose(sides, np.array([10.0, 10.0, 4.0]) * 0.8 / (24 * np.log(10) / 343 * 400 / 36), rtol=1e-9)
    np.testing.assert_array_equal(rooms.fitting(np.array([3.0, 3.0, 2.5]), 0.5), [3.0, 3.0, 2.5])


def test_of_a_recorded_response_the_first_channel_is_taken_at_16_khz(folder):
    result = rooms.recorded(folder / "rir" / "decay.wav")
    assert len(result.samples) == round(8000 / 3)
    assert abs(result.direct - 100 / 3) <= 1
    assert result.samples[result.direct] > 0  # the second channel is its negative, their mean is nothing
    assert rooms.recorded(folder / "rir" / "delta.wav").direct == 100


def test_a_response_that_cannot_be_used_is_refused_by_name(tmp_path):
    (tmp_path / "none.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"none\.wav cannot be decoded"):
        rooms.recorded(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"nan\.wav has samples that are NaN or infinite"):
        rooms.recorded(tmp_path / "nan.wav")


def test_the_reverberation_time_is_pyroomacoustics_measurement():
    from pyroomacoustics.experimental import measure_rt60

    for number, response in enumerate(rooms.simulated(3, (0.3, 0.7), 5)):
        expected = measure_rt60(response.samples[response.direct :].astype(np.float64), 16_000, decay_db=20)
        assert rooms.reverberation_time_s(response) == pytest.approx(expected, rel=0.02), number


def test_the_reverberation_time_is_the_decays():
    for rt60_s in (0.2, 0.6, 1.5):
        seconds = np.arange(int(1.5 * rt60_s * 16_000)) / 16_000
        decay = np.random.default_rng(3).choice([-1.0, 1.0], len(seconds)) * 10 ** (-3 * seconds / rt60_s)
        response = rooms.Response(np.concatenate([np.zeros(50), decay]).astype(np.float32), 50)
        assert rooms.reverberation_time_s(response) == pytest.approx(rt60_s, rel=1e-3)


def test_a_response_without_sound_has_no_reverberation_time():
    assert rooms.reverberation_time_s(rooms.Response(np.eye(1, 100, 10, dtype=np.float32)[0], 10)) == 0.0
    with pytest.raises(InputError, match="without sound has no reverberation time"):
        rooms.reverberation_time_s(rooms.Response(np.zeros(100, np.float32), 0))
