"""Declared lengths: cut files, recorders that wrote to a pipe, and headers that are odd and sound."""

import struct

import numpy as np
import pytest

from pipeline_lib.audio import decoding
from tests.audio.containers.built import (
    BIG,
    ID3,
    LITTLE,
    PCM,
    SOUND,
    aiff,
    at,
    au,
    encoded,
    equals,
    extensible,
    patched,
    pcm,
    wav,
)
from tests.recordings import reason

PIPED = (0, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFDB, 0x80000000, 0x80000024, 0xFFFFFFFF, 0xFFFFFFDB)
DECLARING = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM")),
    *(("RF64", "PCM_16"), ("RF64", "PCM_24"), ("W64", "PCM_16"), ("W64", "FLOAT"), ("W64", "MS_ADPCM")),
    *(("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "FLOAT"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("CAF", "ALAW")),
    *(("NIST", "PCM_16"), ("NIST", "ULAW"), ("AIFF", "PCM_24"), ("AIFF", "DOUBLE"), ("AIFF", "IMA_ADPCM")),
)


@pytest.mark.parametrize(("kind", "subtype"), DECLARING)
def test_a_container_that_declares_its_length_is_taken_whole_or_not_at_all(tmp_path, kind, subtype):
    data = encoded(SOUND, kind, subtype)
    whole = decoding.check(at(tmp_path, data))
    assert decoding.probe(at(tmp_path, data)).duration_s == len(whole) / 16_000
    assert np.abs(whole[: len(SOUND)] - SOUND).max() < 0.08
    for n_bytes in (len(data) // 20, len(data) // 2, len(data) - 1):
        assert reason(at(tmp_path, data[:n_bytes])) in {"truncated", "damaged"}
    assert reason(at(tmp_path, data + b"\x55\xaa" * 20)) == "damaged"


@pytest.mark.parametrize("length", PIPED)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_wav_from_a_pipe_is_taken_to_its_end(tmp_path, length, order):
    data = LITTLE if order == "<" else BIG
    for riff in (length, (length + 36) & 0xFFFFFFFF, 36):
        equals(at(tmp_path, wav(data, length, riff, order=order)), SOUND)


@pytest.mark.parametrize("length", [len(LITTLE) + 2, 1 << 20, 1 << 30, 0x7FFE0000, 0xC0000000])
def test_a_length_that_a_disk_holds_is_a_declaration(tmp_path, length):
    assert reason(at(tmp_path, wav(length=length))) == "truncated"
    assert reason(at(tmp_path, au(BIG, length))) == "truncated"


@pytest.mark.parametrize("length", PIPED)
def test_an_au_from_a_pipe_is_taken_to_its_end(tmp_path, length):
    equals(at(tmp_path, au(BIG, length)), SOUND)


@pytest.mark.parametrize(
    ("frames", "ssnd", "form"),
    [(0, 0, 0), (0x7F000000 // 2, 0x7F000008, 0x7F00002E), (0x3FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF), (0, 0, 0xFFFFFFFF)],
)
def test_an_aiff_from_a_pipe_is_taken_to_its_end(tmp_path, frames, ssnd, form):
    equals(at(tmp_path, aiff(BIG, frames, ssnd, form)), SOUND)


def test_lengths_of_64_bits_that_mean_unknown(tmp_path):
    for length in (0, (1 << 63) - 1, (1 << 64) - 1):
        equals(at(tmp_path, patched(encoded(SOUND, "RF64", "PCM_16"), b"ds64", 12, struct.pack("<Q", length))), SOUND)
    for length in (0, 24, (1 << 63) - 1, (1 << 64) - 1):
        equals(at(tmp_path, patched(encoded(SOUND, "W64", "PCM_16"), b"data", 12, struct.pack("<Q", length))), SOUND)
    equals(at(tmp_path, patched(encoded(SOUND, "CAF", "PCM_16"), b"data", 0, struct.pack(">q", -1))), SOUND)
    nist = encoded(SOUND, "NIST", "PCM_16")
    equals(at(tmp_path, nist.replace(b"sample_count -i 16000\n", b"comment -s12 unknown!\n")), SOUND)
    assert reason(at(tmp_path, nist.replace(b"-i 16000\nend", b"-i 17000\nend"))) == "truncated"
    equals(at(tmp_path, b"BW64" + encoded(SOUND, "RF64", "PCM_16")[4:]), SOUND)


def test_odd_files_that_are_whole_are_taken(tmp_path):
    body = b"WAVEdata" + struct.pack("<I", len(LITTLE)) + LITTLE + b"fmt " + struct.pack("<I", 16) + pcm(16, 2)
    odd = [
        wav() + b"\0\0",
        wav() + bytes(100),
        wav(behind=b"LIST\x04\0\0\0INFO"),
        wav(behind=b"LIST\x40\0\0\0INFO"),  # comments cut off, the sound is all there
        wav(before=b"junk\x05\0\0\0abcde"),  # without a pad byte
        wav(before=b"junk\x05\0\0\0abcde\0"),
        b"RIFF" + struct.pack("<I", len(body)) + body,  # the form behind the sound
        wav(fmt=extensible(16, 2, 1, 4)),
        wav(SOUND.astype("<f8").tobytes(), fmt=pcm(64, 8, tag=3)),
        wav(SOUND.astype("<f4").tobytes(), 0, 0, fmt=pcm(32, 4, tag=3)),
        ID3 + wav(),
        b"dns." + struct.pack("<5I", 40, len(LITTLE), 3, 16_000, 1) + bytes(16) + LITTLE,
    ]
    for data in odd:
        equals(at(tmp_path, data), SOUND)
    for data in (wav() + b"abcd", wav(behind=b"data\x04\0\0\0abcd"), wav(behind=b"UUUUUUUUUUUU")):
        assert reason(at(tmp_path, data)) in {"damaged", "not supported"}
    assert reason(at(tmp_path, wav(b"", behind=b"LIST\x04\0\0\0INFO"))) == "empty"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "width"), [(16, 3), (16, 4), (20, 3), (20, 4), (24, 4), (12, 2), (8, 2)])
def test_samples_in_more_bytes_than_they_fill(tmp_path, bits, width, order):
    values = np.round(SOUND.astype(np.float64) * 2 ** (bits - 1)).astype(np.int64)
    sound = (values / 2 ** (bits - 1)).astype(np.float32)
    for shift in {8 * width - bits, *([] if width == -(-bits // 8) else [0])}:  # in the upper bytes, or in the lower
        whole = (values << shift).astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        data = (whole if order == "<" else whole[:, ::-1]).tobytes()
        equals(at(tmp_path, wav(data, fmt=pcm(bits, width, order=order), order=order)), sound, 1e-7)
    if width > -(-bits // 8):
        full = np.random.default_rng(1).bytes(width * 1_000)
        assert reason(at(tmp_path, wav(full, fmt=pcm(bits, width)))) == "damaged"


@pytest.mark.parametrize(
    ("hertz", "rate"),
    [(22_254.545454, 22_255), (11_127.272727, 11_127), (22_254.5454545454, 22_255), (7_418.18, 7_418)],
)
def test_the_old_macintosh_s_rates_are_rounded(tmp_path, hertz, rate):
    path = at(tmp_path, aiff(BIG, len(PCM), len(BIG) + 8, hertz=hertz))
    assert decoding.probe(path) == decoding.Probe(len(PCM) / rate, rate, 1)
    assert abs(len(decoding.check(path)) - len(PCM) * 16_000 / rate) < 1
    assert reason(at(tmp_path, aiff(BIG, len(PCM), len(BIG) + 8, hertz=hertz + 0.3))) == "damaged"


@pytest.mark.parametrize("kind", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC"])
def test_a_recording_behind_another_is_not_passed_over(tmp_path, kind):
    data = encoded(SOUND, kind, "PCM_16")
    assert reason(at(tmp_path, data + data)) == "not supported"
    if kind != "FLAC":  # whose end no header declares
        assert reason(at(tmp_path, data + encoded(SOUND, "WAV", "PCM_16"))) == "not supported"


@pytest.mark.parametrize("length", [0x7FFF0000, 0x7FFF0000 - 44, 0x7FFEFFD8])
def test_lengths_rounded_down_to_64_kib_mean_unknown(tmp_path, length):
    equals(at(tmp_path, wav(length=length, riff=length + 36)), SOUND)
    equals(at(tmp_path, au(BIG, length)), SOUND)
    equals(at(tmp_path, aiff(BIG, 0xFFFFFFFF, length, length)), SOUND)


def test_a_header_written_twice_into_a_pipe_is_not_taken_for_sound(tmp_path):
    assert reason(at(tmp_path, wav(wav(), length=0xFFFFFFFF))) == "damaged"
    assert reason(at(tmp_path, au(au(BIG, len(BIG)), 0xFFFFFFFF))) == "damaged"
