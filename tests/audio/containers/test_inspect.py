"""Damage that a container's own bytes give away, checksums worked out anew, and bombs."""

import struct

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import BadAudio
from tests.recordings import CONTAINERS, changed, noise, reason, tone, written


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_byte_too_many_is_noticed(tmp_path, container):
    path = written(tmp_path / f"a.{container}", noise(1.0, 16_000))
    good, samples = path.read_bytes(), decoding.check(path)
    path.write_bytes(good[: len(good) // 2] + b"\x55" + good[len(good) // 2 :])
    assert reason(path) in {"damaged", "truncated"}
    path.write_bytes(good + b"\x55")
    if container in ("flac", "mp3"):  # behind the last frame it changes nothing
        np.testing.assert_array_equal(decoding.check(path), samples)
    else:
        assert reason(path) == "damaged"


@pytest.mark.parametrize("container", ["flac", "ogg", "opus", "mp3"])
def test_any_bit_of_a_container_with_checksums_is_noticed_or_changes_no_sample(tmp_path, container):
    path = written(tmp_path / f"a.{container}", noise(0.4, 16_000))
    good, samples = path.read_bytes(), decoding.check(path)
    refused, n = 0, 200
    for bit in np.random.default_rng(1).integers(0, 8 * len(good), n).tolist():
        path.write_bytes(good)
        changed(path, bit // 8, bytes([good[bit // 8] ^ 1 << bit % 8]))
        try:
            np.testing.assert_array_equal(decoding.check(path), samples)
        except BadAudio as error:
            refused += 1
            assert error.reason in {"damaged", "truncated", "not audio", "empty", "implausible", "too short"}
    assert refused > 0.9 * n


@pytest.mark.parametrize(
    ("container", "at", "new"),
    [
        ("wav", 24, struct.pack("<I", 8_000)),  # the rate, declared twice
        ("wav", 22, struct.pack("<H", 2)),  # channels
        ("wav", 34, struct.pack("<H", 8)),  # bits
        ("wav", 40, struct.pack("<I", 30_000)),  # less sound than there is
        ("flac", 18, b"\x01\xf4\x00"),  # 8,000 Hz; the first frame says 16,000
        ("flac", 22, bytes(4)),  # no number of samples
        ("aiff", 22, struct.pack(">I", 8_000)),  # frames
        ("aiff", 32, b"\x01"),  # the rate: 16,000.25 Hz
    ],
)
def test_a_header_that_contradicts_itself_or_the_sound_is_refused(tmp_path, container, at, new):
    path = written(tmp_path / f"a.{container}", noise(1.0, 16_000))
    before = path.read_bytes()
    if container == "flac" and at == 22:  # an encoder that writes to a pipe: taken, and decoded to its end
        np.testing.assert_array_equal(decoding.decode(changed(path, at, new)), decoding.decode(path))
        assert len(decoding.check(path)) == 16_000
        return
    at = before.find(b"COMM") + 8 + {22: 2, 32: 11}[at] if container == "aiff" else at
    assert reason(changed(path, at, new)) == "damaged"


def test_rates_and_channels_that_no_recording_has_are_refused(tmp_path):
    soundfile.write(tmp_path / "slow.wav", tone(), 100)
    soundfile.write(tmp_path / "wide.wav", np.zeros((100, 65)), 16_000)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 2036, b"WAVE", b"fmt ", 16, 1, 1, 2**31, 2**32 - 1, 2, 16, b"data", 2000
    )
    (tmp_path / "fast.wav").write_bytes(header + bytes(2000))
    assert [reason(tmp_path / f"{name}.wav") for name in ("slow", "wide", "fast")] == [
        "implausible", "implausible", "damaged",
    ]  # fmt: skip


def test_a_flac_whose_sound_does_not_match_its_md5_is_refused(tmp_path):
    path = written(tmp_path / "a.flac", noise(1.0, 16_000))
    assert reason(changed(path, 26, bytes(15) + b"\x01")) == "damaged"
    assert len(decoding.check(changed(path, 26, bytes(16)))) == 16_000  # the encoder left it out


@pytest.mark.parametrize(("subtype", "dtype"), [("PCM_S8", "int16"), ("PCM_16", "int16"), ("PCM_24", "int32")])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_md5_of_every_width_is_the_encoders(tmp_path, subtype, dtype, channels):
    soundfile.write(tmp_path / "a.flac", noise(1.0, 16_000, channels), 16_000, subtype=subtype)
    decoded, _ = soundfile.read(tmp_path / "a.flac", dtype="float32", always_2d=True)
    np.testing.assert_allclose(decoding.check(tmp_path / "a.flac"), decoded.mean(axis=1), atol=1e-7)
    assert reason(changed(tmp_path / "a.flac", 26, b"\x00\x01")) == "damaged"


def test_zeros_that_fill_blocks_of_a_disk_are_a_lost_part_and_other_silence_is_not(tmp_path):
    path = written(tmp_path / "a.wav", noise(2.0, 16_000))
    good = path.read_bytes()
    assert reason(changed(path, 8_192, bytes(4_096))) == "damaged"
    path.write_bytes(good)
    assert len(decoding.check(changed(path, 8_000, bytes(4_096)))) == 32_000  # a muted take
    path.write_bytes(good)
    assert len(decoding.check(changed(path, 8_192, bytes(3_072)))) == 32_000


def test_an_mp3_whose_frames_do_not_match_its_lame_tag_is_refused(tmp_path):
    path = written(tmp_path / "a.mp3", noise(2.0, 16_000))
    good = path.read_bytes()
    assert reason(changed(path, len(good) - 50, b"\x00\x01\x02")) == "damaged"
    path.write_bytes(good.replace(b"Info", b"Onfi", 1).replace(b"Xing", b"Onfi", 1))
    assert reason(path) == "damaged"  # without the tag its first frame would be decoded
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + good + b"TAG" + bytes(125))
    assert len(decoding.check(path)) == len(decoding.check(written(tmp_path / "b.mp3", noise(2.0, 16_000))))


def test_crc_16_and_ogg_s_crc_are_those_worked_out_bit_by_bit(monkeypatch):
    from pipeline_lib.audio.containers import crc16, ogg

    def bitwise(data: bytes, polynomial: int, width: int) -> int:
        crc = 0
        for byte in data:
            crc ^= byte << width - 8
            for _ in range(8):
                crc = (crc << 1 ^ (polynomial if crc >> width - 1 else 0)) & (1 << width) - 1
        return crc

    data = np.random.default_rng(1).bytes(2_500)
    assert (
        crc16.crc16([b"123456789"]) == crc16.crc16([b"12", b"34567", b"89"]) == 0xBB3D
    )  # the catalogue's check value of CRC-16/ARC
    backwards = data.translate(ogg._REVERSED)
    assert crc16.crc16([backwards]) == int(f"{bitwise(data, 0x8005, 16):016b}"[::-1], 2)
    monkeypatch.setattr(crc16, "_PART", 999)
    assert crc16.crc16([backwards]) == int(f"{bitwise(data, 0x8005, 16):016b}"[::-1], 2)
    assert ogg._crc(data) == bitwise(data, 0x04C11DB7, 32)


@pytest.mark.parametrize("container", ["flac", "ogg", "opus", "mp3"])
def test_a_small_file_of_hours_is_refused_before_it_is_decoded(tmp_path, container, monkeypatch):
    path = written(tmp_path / f"a.{container}", np.zeros(40 * 16_000, np.float32))
    counted, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: counted.append(n) or read(self, n, **k))
    assert reason(path, max_s=30.0) == "too long" and not counted


def test_a_stream_that_hides_its_length_is_decoded_to_the_limit_and_no_further(tmp_path, monkeypatch):
    path = written(tmp_path / "bomb.flac", np.zeros(600 * 16_000, np.float32))
    changed(path, 21, bytes([path.read_bytes()[21] & 0xF0]) + bytes(4))  # "unknown"
    counted, read = [], soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **k: counted.append(n) or read(self, n, **k))
    assert path.stat().st_size < 100_000 and reason(path, max_s=30.0) == "too long"
    assert sum(counted) <= 30 * 16_000 + (1 << 18)
    monkeypatch.setattr("pipeline_lib.audio.decoding.LONGEST_S", 60.0)
    assert reason(path) == "too long"
