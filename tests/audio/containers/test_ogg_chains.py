"""Chains of Ogg streams, as radio recorders and ``cat`` write them; each link is decoded plainly for comparison."""

import struct

import numpy as np
import pytest

from pipeline_lib.audio.containers import ogg
from tests.audio.containers.built import RATE, SOUND, at, encoded, equals, plainly
from tests.recordings import reason

CODECS = ("VORBIS", "OPUS")
LONG = np.tile(SOUND, 2)


def page(body: bytes, serial: int, number: int, flags: int) -> bytes:
    head = struct.pack("<4sBBqIIIBB", b"OggS", 0, flags, 0, serial, number, 0, 1, len(body)) + body
    return head[:22] + struct.pack("<I", ogg._crc(head)) + head[26:]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("lengths", [(32_000, 20_000), (9_000, 32_000, 5_001, 16_000)])
def test_every_link_is_decoded(tmp_path, codec, lengths):
    links = [encoded(LONG[:n] * (0.5 + 0.1 * i), "OGG", codec) for i, n in enumerate(lengths)]
    equals(at(tmp_path, b"".join(links)), np.concatenate([plainly(link) for link in links]))


def test_links_of_the_same_serial_number_and_of_two_codecs(tmp_path):
    vorbis, opus = (encoded(LONG, "OGG", codec) for codec in CODECS)
    equals(at(tmp_path, vorbis + vorbis), np.tile(plainly(vorbis), 2))
    equals(at(tmp_path, vorbis + opus), np.concatenate([plainly(vorbis), plainly(opus)]))


@pytest.mark.parametrize("codec", CODECS)
def test_a_link_that_is_cut_or_damaged_is_noticed(tmp_path, codec):
    one, two = encoded(LONG, "OGG", codec), encoded(0.5 * LONG, "OGG", codec)
    assert reason(at(tmp_path, one + two[:-40])) == "truncated"
    assert reason(at(tmp_path, one[: one.rindex(b"OggS")] + two)) == "truncated"  # its last page is missing
    assert reason(at(tmp_path, one[:-40] + two)) == "damaged"
    assert reason(at(tmp_path, one + two[: len(two) // 2] + b"\0" + two[len(two) // 2 + 1 :])) == "damaged"
    assert reason(at(tmp_path, one + b"behind")) == "damaged"


def test_links_of_another_rate_or_number_of_channels_are_refused_by_that_reason(tmp_path):
    one = encoded(LONG, "OGG", "VORBIS")
    assert reason(at(tmp_path, one + encoded(LONG, "OGG", "VORBIS", 44_100))) == "not supported"
    assert reason(at(tmp_path, one + encoded(np.stack([LONG, LONG], 1), "OGG", "VORBIS"))) == "not supported"


@pytest.mark.parametrize("head", [b"Speex   1.2", b"\x7fFLAC\x01\x00\x00\x01fLaC", b"\x80theora"])
def test_codecs_that_cannot_be_decoded_are_named(tmp_path, head):
    data = page(head.ljust(80, b"\0"), 1, 0, 2) + page(b"x", 1, 1, 4)
    assert reason(at(tmp_path, data)) == "not supported"
    assert reason(at(tmp_path, encoded(LONG, "OGG", "OPUS") + data)) == "not supported"


def test_a_second_flac_stream_is_not_passed_over(tmp_path):
    one = encoded(SOUND, "FLAC", "PCM_16")
    assert reason(at(tmp_path, one + encoded(SOUND[:8_000], "FLAC", "PCM_16"))) == "not supported"
    assert plainly(one).shape == (RATE,)


def test_a_stream_that_was_joined_late_is_as_long_as_its_sound(tmp_path):
    data, start, late = encoded(np.tile(SOUND, 7), "OGG", "VORBIS"), 0, b""
    while start < len(data):  # a broadcast's pages count from its own beginning, ten seconds ago
        end = start + 27 + data[start + 26] + sum(data[start + 27 : start + 27 + data[start + 26]])
        (granule,) = struct.unpack("<q", data[start + 6 : start + 14])
        shifted = granule + 160_000 if granule > 0 else granule
        moved = data[start : start + 6] + struct.pack("<q", shifted) + data[start + 14 : end]
        crc = ogg._crc(moved[:22] + bytes(4) + moved[26:])
        late += moved[:22] + struct.pack("<I", crc) + moved[26:]
        start = end
    equals(at(tmp_path, late), plainly(data))
    equals(at(tmp_path, late + data), np.tile(plainly(data), 2))
