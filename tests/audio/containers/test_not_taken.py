"""Containers and codings that are not taken are refused by their names, not as damaged."""

import time

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio.decoding import BadAudio, check
from tests.audio.containers.built import BIG, SOUND, at, encoded, patched, pcm, wav
from tests.recordings import reason

INSPECTED = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3"}
HEADERLESS = {"RAW", "SD2"}  # without a mark of their own; SD2 keeps its header in another file


def message(path) -> str:
    with pytest.raises(BadAudio) as caught:
        check(path)
    assert caught.value.reason == "not supported"
    return str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(soundfile.available_formats()) - INSPECTED - HEADERLESS))
def test_what_libsndfile_decodes_and_nothing_inspects_is_not_taken(tmp_path, kind):
    rate = 8_000 if kind == "WVE" else 16_000
    subtype = "DPCM_16" if kind == "XI" else soundfile.default_subtype(kind)
    text = message(at(tmp_path, encoded(SOUND, kind, subtype, rate)))
    assert "not a container that is taken (WAV, RF64" in text and "damaged" not in text


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x20ftypM4A ", "MP4"),
        (b"\x1a\x45\xdf\xa3", "Matroska"),
        (b"#!AMR\n", "AMR"),
        (b"wvpk", "WavPack"),
        (b"RIFF\0\0\1\0AVI ", "AVI"),
        (b"FORM\0\0\1\x008SVX", "8SVX"),
        (b"\xff\xf1\x50\x80\x01\x1f\xfc\0\xff\xf1\x50\x80\x01\x1f\xfc\0", "AAC"),
    ],
)
def test_containers_of_the_field_are_named(tmp_path, head, name):
    assert f"{name}" in message(at(tmp_path, head + bytes(2_000)))


@pytest.mark.parametrize("tag", [0x0161, 0x0270, 0x00FF, 0x0031, 0x0040])
def test_codings_that_cannot_be_decoded_are_named(tmp_path, tag):
    assert f"{tag:#06x}" in message(at(tmp_path, wav(fmt=pcm(4, 1, tag=tag))))


def test_codings_of_other_containers_are_named(tmp_path):
    nist = encoded(SOUND, "NIST", "PCM_16")
    shorten = nist.replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n")
    assert "sph2pipe" in message(at(tmp_path, shorten))
    assert "number 23" in message(at(tmp_path, patched(encoded(SOUND, "AU"), b".snd", 8, b"\0\0\0\x17")))
    assert "MAC3" in message(at(tmp_path, encoded(SOUND, "AIFF", "ULAW").replace(b"ulaw", b"MAC3")))
    assert "aac " in message(at(tmp_path, encoded(SOUND, "CAF", "PCM_16").replace(b"lpcm", b"aac ")))
    assert "samples of 64 bits in 8 bytes" in message(at(tmp_path, wav(BIG * 4, fmt=pcm(64, 8))))
    assert np.abs(SOUND).max() > 0.2


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\x10WAVE" + b"abcd\0\0\0\0" * 300_000,
        b"FORM\0\x20\0\x04AIFF" + b"abcd\0\0\0\0" * 300_000,
        b"caff\0\1\0\0" + b"abcd\0\0\0\0\0\0\0\0" * 300_000,
        b"fLaC" + bytes(2_000_000),
        b"\xff\xe2\x00\x00" * 300_000,  # a beginning of a frame of free format at every fourth byte
    ],
    ids=["WAV", "AIFF", "CAF", "FLAC", "MPEG"],
)
def test_endless_headers_are_given_up_soon(tmp_path, data):
    started = time.process_time()
    assert reason(at(tmp_path, data)) in {"damaged", "truncated"}
    assert time.process_time() - started < 1.0
