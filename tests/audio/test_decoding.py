"""Decoding against soundfile and soxr called plainly; a zoo of bad recordings, each refused with its own reason."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from pipeline_lib.audio import decoding
from pipeline_lib.audio.containers import opening, reading
from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio
from pipeline_lib.errors import InputError
from tests.recordings import CONTAINERS, cut, noise, reason, tone, written


def test_sixteen_kilohertz_mono_comes_back_sample_by_sample(tmp_path):
    path = written(tmp_path / "a.flac", tone())
    read_back, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(decoding.decode(path), read_back)
    assert decoding.decode(path).dtype == np.float32


def test_channels_are_averaged_and_any_rate_becomes_16_khz(tmp_path):
    samples = noise(1.5, 44_100, channels=4)  # an order of channels without a centre
    path = written(tmp_path / "four.flac", samples, 44_100)
    read_back, _ = soundfile.read(path, dtype="float64")
    expected = soxr.resample(read_back.mean(axis=1), 44_100, 16_000, quality="VHQ")
    np.testing.assert_allclose(decoding.decode(path), expected, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_a_resampled_tone_keeps_its_pitch_and_level(tmp_path, rate):
    samples = decoding.decode(written(tmp_path / "a.wav", tone(1.0, rate), rate))
    middle = slice(1_600, -1_600)
    np.testing.assert_allclose(samples[middle], tone(1.0)[middle], atol=2e-4)  # 16-bit steps and the filter's ripple


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(("start_s", "duration_s"), [(0.0, 0.5), (0.3217, 0.4), (1.0, None), (1.9, 5.0)])
def test_a_chunk_equals_the_same_stretch_of_the_whole(tmp_path, rate, start_s, duration_s):
    path = written(tmp_path / "a.flac", noise(2.0, rate), rate)
    whole, first = decoding.decode(path), round(start_s * SAMPLE_RATE)
    expected = whole[first:] if duration_s is None else whole[first : first + round(duration_s * SAMPLE_RATE)]
    np.testing.assert_allclose(decoding.decode(path, start_s, duration_s), expected, atol=1e-6)


@pytest.mark.parametrize("container", ["opus", "ogg", "mp3"])
def test_a_chunk_of_a_lossy_recording_equals_the_same_stretch(tmp_path, container):
    path = written(tmp_path / f"a.{container}", tone(3.0))
    whole = decoding.decode(path)
    np.testing.assert_allclose(decoding.decode(path, 1.25, 0.5), whole[20_000:28_000], atol=1e-6)


@pytest.mark.parametrize("container", CONTAINERS)
def test_chunks_all_over_a_recording_equal_the_whole(tmp_path, container):
    path = written(tmp_path / f"a.{container}", noise(9.0, 16_000))
    whole = decoding.decode(path)
    for first in range(0, 143_000, 14_297):
        np.testing.assert_allclose(
            decoding.decode(path, first / SAMPLE_RATE, 0.01), whole[first : first + 160], atol=1e-6
        )


def test_what_stands_before_a_chunk_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK", 1_000)
    with opening.opened(written(tmp_path / "a.mp3", tone(2.0))) as opened:
        assert [len(block) for block in opened.blocks(20_500, 22_200)] == [500, 1_000, 200]


def test_only_the_chunk_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "long.wav", noise(60.0, 44_100), 44_100)
    counted, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: counted.append(n) or read(self, n, **k))
    decoding.decode(path, 30.0, 2.0)
    assert sum(counted) <= 44_100 * (2.0 + 2 * decoding.MARGIN_S) + 1_000


def test_a_chunk_that_begins_behind_the_end_is_refused(tmp_path):
    path = written(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(BadAudio, match=r"lasts 1\.000 s, the chunk begins at 1\.000 s"):
        decoding.decode(path, 1.0)


def test_an_overshoot_is_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", 4 * tone(), 16_000, subtype="FLOAT")
    assert np.abs(decoding.decode(tmp_path / "a.wav")).max() == 1.0


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_header_tells_duration_rate_and_channels(tmp_path, container):
    path = written(tmp_path / f"a.{container}", noise(2.0, 48_000, channels=2), 48_000)
    assert decoding.probe(path) == decoding.Probe(2.0, 48_000, 2)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_recording_cut_short_is_refused_in_every_container(tmp_path, container, share):
    path = written(tmp_path / f"a.{container}", noise(4.0, 16_000))
    assert len(decoding.check(path)) == 64_000
    assert reason(cut(path, int(share * path.stat().st_size))) in {"truncated", "damaged"}


@pytest.mark.parametrize("container", ["wav", "aiff", "ogg", "opus"])
def test_one_missing_byte_is_noticed_where_the_container_counts_bytes(tmp_path, container):
    path = written(tmp_path / f"a.{container}", noise(1.0, 16_000))
    assert reason(cut(path, path.stat().st_size - 1)) == "truncated"


def test_an_opus_file_that_ends_between_two_pages_is_truncated(tmp_path):
    path = written(tmp_path / "a.opus", noise(6.0, 16_000))
    assert reason(cut(path, path.read_bytes().rfind(b"OggS"))) == "truncated"


def test_a_wav_written_to_a_pipe_declares_no_length_and_is_taken(tmp_path):
    path = written(tmp_path / "a.wav", tone())
    data = bytearray(path.read_bytes())
    at = data.find(b"data")
    data[4:8] = data[at + 4 : at + 8] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(data)
    np.testing.assert_allclose(decoding.check(path), tone(), atol=1e-4)


def test_files_that_are_no_recordings(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("<html>404</html>" * 100)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    soundfile.write(tmp_path / "header.wav", np.zeros(0, np.float32), 16_000)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    names = ["empty.wav", "text.wav", "folder.wav", "pipe.wav", "link.wav", "header.wav", "a.raw", "absent.wav"]
    reasons = [reason(tmp_path / name) for name in names]
    assert reasons == ["empty", "not audio", "not a file", "not a file", "missing", "empty", "not audio", "missing"]
    assert reason(Path("/dev/null")) == "not a file"
    assert reason(tmp_path / "text.wav" / "a.wav") == "missing"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_is_found(tmp_path, value):
    samples = tone()
    samples[12_345] = value
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "nan"


def test_integers_written_as_float_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", 32_768 * tone(), 16_000, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "out of range"


def test_silence_is_what_stays_below_the_threshold(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.9e-4), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", np.full(16_000, 1.1e-4), 16_000, subtype="FLOAT")
    assert reason(tmp_path / "a.wav") == "silent"
    assert (
        len(decoding.check(tmp_path / "a.wav", allow_silent=True)) == len(decoding.check(tmp_path / "b.wav")) == 16_000
    )


def test_durations_outside_the_limits_say_both_numbers(tmp_path):
    path = written(tmp_path / "a.wav", tone(0.5))
    assert reason(path, min_s=0.6) == "too short"
    assert reason(path, max_s=0.4) == "too long"
    with pytest.raises(BadAudio, match=r"a\.wav lasts 0\.500 s, expected at least 0\.6 s"):
        decoding.check(path, min_s=0.6)
    assert len(decoding.check(path, min_s=0.5, max_s=0.5)) == 8_000


def test_the_error_survives_the_way_back_from_another_process():
    error = pickle.loads(pickle.dumps(BadAudio("silent", "a.wav is silent")))  # noqa: S301
    assert (error.reason, str(error)) == ("silent", "a.wav is silent")


def test_paths_of_tables_stay_below_the_root(tmp_path):
    root = tmp_path / "corpus"
    (root / "inside").mkdir(parents=True)
    (root / "inside" / "a.wav").touch()
    (tmp_path / "secret.wav").touch()
    (root / "good.wav").symlink_to(root / "inside" / "a.wav")
    (root / "bad.wav").symlink_to(tmp_path / "secret.wav")
    (root / "circle").symlink_to(root / "circle")
    (tmp_path / "elsewhere").symlink_to(root)
    assert decoding.resolve_under(root, "inside/a.wav") == (root / "inside" / "a.wav").resolve()
    assert decoding.resolve_under(tmp_path / "elsewhere", "good.wav") == (root / "inside" / "a.wav").resolve()
    for path in ("", "/etc/passwd", "../secret.wav", "inside/../../secret.wav", "bad.wav", "circle/a.wav", "a\0.wav"):
        with pytest.raises(InputError, match="is no path below|outside|cannot be followed"):
            decoding.resolve_under(root, path)


def test_many_channels_are_read_in_small_blocks(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(1.0, 48_000, 48), 48_000)
    counted, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: counted.append(n) or read(self, n, **k))
    assert len(decoding.decode(tmp_path / "a.wav")) == 16_000
    assert max(counted) * 48 <= 1 << 18


def test_the_share_of_clipped_samples_is_told_and_refused_only_where_asked(tmp_path):
    samples = tone(1.0)
    samples[:1_600] = 1.0
    path = written(tmp_path / "a.wav", samples)
    assert decoding.examine(path).clipped == 0.1
    assert (
        reason_of(path, max_clipped=0.09) == "clipped"
        and len(decoding.examine(path, max_clipped=0.1).samples) == 16_000
    )
    assert decoding.examine(written(tmp_path / "b.wav", tone())).clipped == 0.0


def reason_of(path: Path, **options) -> str:
    with pytest.raises(BadAudio) as caught:
        decoding.examine(path, **options)
    return caught.value.reason


def test_what_libsndfile_says_does_not_differ_from_run_to_run(tmp_path):
    (tmp_path / "a.flac").write_bytes(b"fLaC" + b"\x84\x00\x00\x00" + b"\xff\xf8" + bytes(50))
    messages = set()
    for _ in range(2):
        with pytest.raises(BadAudio) as caught:
            decoding.check(tmp_path / "a.flac")
        messages.add(str(caught.value))
        (tmp_path / "other").open("w")  # noqa: SIM115, another number of the next open file
    assert len(messages) == 1 and "Error opening" not in messages.pop()
