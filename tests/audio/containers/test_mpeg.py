"""MPEG audio without a declared length, tagged, joined and cut; frames are counted by the standard's own formula."""

import struct

import numpy as np
import pytest

from pipeline_lib.audio import decoding
from pipeline_lib.audio.containers import mp3 as mp3_walk
from tests.audio.containers.built import ID3, ID3V1, RATE, SOUND, at, encoded, equals, plainly, wav
from tests.recordings import noise, reason

SPEECH = np.concatenate([SOUND, np.zeros(8_000, np.float32), 0.2 * SOUND, SOUND])
KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
APE = bytes(8) + b"APETAGEX" + struct.pack("<IIII", 1_000, 40, 0, 0) + bytes(8)
APE_2 = b"APETAGEX" + struct.pack("<IIII", 2_000, 40, 0, 0xA0000000) + bytes(8)
APE_2 += bytes(8) + b"APETAGEX" + struct.pack("<IIII", 2_000, 40, 0, 0x80000000) + bytes(8)
LYRICS = b"LYRICSBEGIN" + b"x" * 50 + b"000061LYRICS200"


def mp3(samples: np.ndarray = SPEECH, rate: int = RATE, mode: str = "CONSTANT") -> bytes:
    return encoded(samples, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.5)


def frames(data: bytes) -> list[bytes]:
    """Cut layer III into its frames, the one with the tag first."""
    result, position = [], 0
    while position < len(data):
        version, kbits, rate = data[position + 1] >> 3 & 3, data[position + 2] >> 4, data[position + 2] >> 2 & 3
        hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
        n = (144_000 if version == 3 else 72_000) * KBITS[3 if version == 3 else 2][kbits] // hertz
        n += data[position + 2] >> 1 & 1
        result.append(data[position : position + n])
        position += n
    return result


def untagged(data: bytes) -> bytes:
    return b"".join(frames(data)[1:])


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])  # MPEG-2.5, 2 and 1
@pytest.mark.parametrize("channels", [1, 2])
def test_the_frames_are_the_length_where_no_tag_declares_one(tmp_path, mode, rate, channels):
    parts = frames(mp3(np.tile(np.resize(SPEECH, rate)[:, None], (1, channels)), rate, mode))
    path = at(tmp_path, b"".join(parts[1:]))
    n_samples = (len(parts) - 1) * (1152 if rate >= 32_000 else 576)
    assert decoding.probe(path) == decoding.Probe(n_samples / rate, rate, channels)
    whole = decoding.check(path)
    assert abs(len(whole) - n_samples * RATE / rate) < 1
    first = round(0.8 * RATE)
    np.testing.assert_allclose(decoding.decode(path, 0.8, 0.1), whole[first : first + 1_600], atol=1e-6)
    assert reason(at(tmp_path, b"".join(parts[1:])[:-9])) == "truncated"


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        *((ID3, b""), (ID3 + ID3, b""), (b"", ID3V1), (b"", APE), (b"", APE + ID3V1), (b"", APE_2), (APE_2, b"")),
        *((ID3, LYRICS + ID3V1), (ID3 + bytes(700), b""), (b"\x12\x34" * 40, b"")),
    ],
)
def test_tags_and_the_rest_of_a_frame_are_no_sound(tmp_path, tagged, before, behind):
    data = mp3() if tagged else untagged(mp3())
    sound = decoding.check(at(tmp_path, data))
    equals(at(tmp_path, before + data + behind), sound)


def test_streams_joined_are_decoded_one_behind_the_other(tmp_path):
    one, two = mp3(), mp3(SPEECH[:20_000], mode="VARIABLE")
    sounds = {data: decoding.check(at(tmp_path, data)) for data in (one, two, untagged(one))}
    np.testing.assert_allclose(sounds[one], plainly(one), rtol=0, atol=1e-7)
    equals(at(tmp_path, one + two), np.concatenate([sounds[one], sounds[two]]))
    equals(at(tmp_path, ID3 + one + ID3V1 + ID3 + two + ID3V1), np.concatenate([sounds[one], sounds[two]]))
    equals(at(tmp_path, untagged(one) + two), np.concatenate([sounds[untagged(one)], sounds[two]]))
    assert reason(at(tmp_path, one + two[:-9])) == "truncated"
    assert reason(at(tmp_path, one + frames(two)[0])) == "truncated"


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (16_000, 2)])
def test_streams_of_another_form_are_refused_by_that_reason(tmp_path, rate, channels):
    other = mp3(np.tile(SPEECH[:, None], (1, channels)), rate)
    assert reason(at(tmp_path, mp3() + other)) == "not supported"


def test_frames_that_declare_no_bit_rate_are_measured(tmp_path):
    parts = frames(mp3())[1:]
    assert len({len(part) for part in parts}) == 1
    sound = decoding.check(at(tmp_path, b"".join(parts)))
    free = b"".join(part[:2] + bytes([part[2] & 0x0F]) + part[3:] for part in parts)
    equals(at(tmp_path, free), sound)
    equals(at(tmp_path, ID3 + free + ID3V1), sound)
    assert reason(at(tmp_path, free[:-100])) == "truncated"
    assert reason(at(tmp_path, free[:3_000] + free[3_050:])) == "damaged"


@pytest.mark.parametrize(
    ("version", "layer", "n_bytes", "n_samples"),  # 48 kHz of 128 kbit/s, 24 kHz of 64 kbit/s
    [(3, 1, 12_000 * 256 // 48_000 * 4, 384), (3, 2, 384, 1152), (2, 1, 12_000 * 128 // 24_000 * 4, 384)]
    + [(2, 2, 144_000 * 64 // 24_000, 1152)],
)
def test_layers_one_and_two_are_counted(tmp_path, version, layer, n_bytes, n_samples):
    head = struct.pack(">I", 0xFFE00000 | version << 19 | 4 - layer << 17 | 1 << 16 | 8 << 12 | 1 << 10 | 3 << 6)
    path = at(tmp_path, (head + bytes(n_bytes - 4)) * 50)  # silence
    rate = 48_000 if version == 3 else 24_000
    assert decoding.probe(path) == decoding.Probe(50 * n_samples / rate, rate, 1)
    assert len(decoding.check(path, allow_silent=True)) == 50 * n_samples * RATE // rate
    assert reason(at(tmp_path, (head + bytes(n_bytes - 4)) * 50 + head)) == "truncated"


def test_other_encoders_tags_are_compared_with_the_count(tmp_path):
    parts = frames(mp3())
    sound = decoding.check(at(tmp_path, b"".join(parts[1:])))
    side = parts[0].index(b"Info")
    for flags, count in ((1, len(parts)), (0, 0)):  # an encoder that counts the tag's own frame; one that counts none
        tag = parts[0][:4] + bytes(side - 4) + b"Info" + struct.pack(">II", flags, count)
        equals(at(tmp_path, tag.ljust(len(parts[0]), b"\0") + b"".join(parts[1:])), sound)
    vbri = (parts[0][:4] + bytes(32) + b"VBRI" + bytes(10) + struct.pack(">I", len(parts) - 1)).ljust(360, b"\0")
    equals(at(tmp_path, vbri + b"".join(parts[1:])), sound)
    assert reason(at(tmp_path, vbri + b"".join(parts[1:-5]))) == "truncated"
    assert reason(at(tmp_path, b"".join(parts[:-1]))) == "truncated"  # LAME does not count its tag


def test_frames_lost_at_either_end_are_no_padding(tmp_path):
    data = mp3()
    for broken in (data, untagged(data)):
        assert reason(at(tmp_path, broken[:-1_000] + bytes(1_000))) in {"truncated", "damaged"}
        assert reason(at(tmp_path, bytes(1_000) + broken[1_000:])) in {"damaged", "not audio"}
        assert reason(at(tmp_path, broken[:5_000] + broken[5_100:])) in {"damaged", "truncated"}
    assert reason(at(tmp_path, untagged(data) + b"no frame at all" * 20)) == "damaged"
    equals(at(tmp_path, data + b"no frame at all" * 20), plainly(data), 1e-7)  # its tag says that it is complete


def test_mp3_inside_wav_is_counted_too(tmp_path):
    data = untagged(mp3())
    fmt = struct.pack("<HHIIHHH", 0x55, 1, RATE, 5_000, 1, 0, 0)
    equals(at(tmp_path, wav(data, fmt=fmt)), decoding.check(at(tmp_path, data)))


def test_noise_that_looks_like_a_frame_is_none(tmp_path):
    data = b"\xff\xfb\x90\x00" + noise(0.2, RATE).tobytes()
    assert reason(at(tmp_path, data)) == "damaged"


# the first frame that FFmpeg 5.1 writes for mono sound at 16 kHz (libmp3lame, 24 kbit/s)
OF_FFMPEG = bytes.fromhex(
    "fff358c0000000000000000000496e666f0000000f000000a9000048000005080b0d101314171a1c1f222326292c2e31"
    "3435383b3d404344474a4d4f525556595c5e616465686b6d707376777a7d7f828586898c8e919497989b9ea0a3a6a7aa"
    "adafb2b5b6b9bcbfc1c4c7c8cbced0d3d6d7dadde0e2e5e8e9eceff1f4f7f8fbfe000000004c61766335392e33370000"
    "00000000000000000000240300000000000000480041c0513d0000000000000000000000"
)


def test_the_checksum_that_ffmpeg_writes_for_all_but_mpeg_1_in_stereo_is_its_own():
    assert mp3_walk._xing(OF_FFMPEG, 13)["whole"] == 1
    for position in (20, 100, 170):
        damaged = bytearray(OF_FFMPEG)
        damaged[position] ^= 4
        assert mp3_walk._xing(bytes(damaged), 13)["whole"] == 0


def of_ffmpeg(frame: bytes, own: int) -> bytes:
    """Return a tag's frame with FFmpeg's checksum, computed bit by bit."""
    zeroed, crc = (frame[: own + 154] + bytes(2) + frame[own + 156 :]).ljust(190, b"\0")[:190], 0
    for byte in zeroed:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return frame[: own + 154] + crc.to_bytes(2, "big") + frame[own + 156 :]


@pytest.mark.parametrize(("rate", "channels", "own"), [(RATE, 1, 13), (RATE, 2, 21), (44_100, 1, 21), (44_100, 2, 36)])
def test_a_file_with_ffmpegs_checksum_is_taken(tmp_path, rate, channels, own):
    parts = frames(mp3(np.tile(np.resize(SPEECH, rate)[:, None], (1, channels)), rate))
    data = of_ffmpeg(parts[0], own) + b"".join(parts[1:])
    equals_length(at(tmp_path, data), 1.0)


def equals_length(path, seconds):
    assert decoding.probe(path).duration_s == seconds
    assert abs(len(decoding.check(path)) - seconds * RATE) < 1


def test_a_tag_in_a_frame_that_declares_no_bit_rate_is_no_sound(tmp_path):
    parts = frames(mp3())
    sound = decoding.check(at(tmp_path, b"".join(parts)))
    parts[0] = (parts[0][: 13 + 154] + bytes(2)).ljust(len(parts[1]), b"\0")  # as long as the others, no checksum
    free = b"".join(part[:2] + bytes([part[2] & 0x0F]) + part[3:] for part in parts)
    assert len(sound) == len(SPEECH)
    equals(at(tmp_path, free), sound)
