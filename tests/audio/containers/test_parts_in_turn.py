"""Parts of one recording read in turn: equal to the whole, and the sound in front of each is decoded once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.containers import opening
from tests.recordings import noise, written

RATE = decoding.SAMPLE_RATE
KINDS = ["mp3", "ogg", "opus"]


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(opening, "_OPEN", opening._OpenReadings())
    monkeypatch.setattr("pipeline_lib.audio.containers.reading._BLOCK", 10_000)


def equal(path, whole, start_s, duration_s):
    first = round(start_s * RATE)
    end = None if duration_s is None else first + round(duration_s * RATE)
    np.testing.assert_array_equal(decoding.decode(path, start_s, duration_s), whole[first:end])


@pytest.mark.parametrize("kind", KINDS)
def test_the_sound_in_front_of_a_part_is_decoded_once(tmp_path, monkeypatch, kind):
    path = written(tmp_path / f"a.{kind}", noise(8.0, RATE))
    whole, counted, read = decoding.decode(path), [], soundfile.SoundFile.read

    def counting(self, *args, **options):
        made = read(self, *args, **options)
        counted.append(len(made))
        return made

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    for start_s in np.arange(0, 7.5, 0.25):
        equal(path, whole, float(start_s), 0.5)  # half of each overlaps with the one before
    assert sum(counted) == 7.75 * RATE


@pytest.mark.parametrize("kind", [*KINDS, "wav"])
def test_parts_in_any_order_equal_the_whole(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("pipeline_lib.audio.containers.cursor._LOOKBACK", 20_000)  # so that some lie before the buffer
    path = written(tmp_path / f"a.{kind}", np.repeat(noise(5.0, 24_000), 2, axis=1), 24_000)
    whole = decoding.decode(path)
    for start_s in (3.0, 2.9, 0.0, 4.5, 4.0, 0.7, 3.3, 3.3):
        first = round(start_s * RATE)
        np.testing.assert_allclose(decoding.decode(path, start_s, 0.4), whole[first : first + 6_400], atol=1e-6)
    np.testing.assert_allclose(decoding.decode(path, 4.9), whole[round(4.9 * RATE) :], atol=1e-6)
    np.testing.assert_array_equal(decoding.decode(path), whole)


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    path = written(tmp_path / "a.mp3", noise(3.0, RATE, 1))
    decoding.decode(path, 1.0, 0.5)
    written(tmp_path / "b.mp3", 0.5 * noise(4.0, RATE, 1)).replace(path)
    equal(path, decoding.decode(path), 3.2, 0.5)
    assert decoding.probe(path).duration_s == 4.0
    path.unlink()
    with pytest.raises(decoding.BadAudio, match="does not exist"):
        decoding.decode(path, 1.0, 0.5)


def test_a_few_files_stay_open_and_each_thread_has_its_own(tmp_path):
    paths = [written(tmp_path / f"{n}.ogg", noise(2.0, RATE) * 0.1 * (n + 1)) for n in range(6)]
    wholes = [decoding.decode(path) for path in paths]
    for start_s in (0.2, 0.9, 1.4):
        for path, whole in zip(paths, wholes, strict=True):
            equal(path, whole, start_s, 0.3)
    assert [reading.path for _, reading in opening._OPEN.readings.values()] == paths[-opening._MOST_OPEN :]
    links = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert sum(path in links for path in paths) == opening._MOST_OPEN
    with ThreadPoolExecutor(4) as pool:
        for start_s in (0.3, 0.8, 1.1, 1.6):
            list(pool.map(lambda i, s=start_s: equal(paths[i], wholes[i], s, 0.2), [0, 1, 0, 1, 2, 0, 3]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_process_does_not_disturb_the_next_part(tmp_path, kind):
    path = written(tmp_path / f"a.{kind}", noise(20.0, RATE))
    whole = decoding.decode(path)
    equal(path, whole, 1.0, 0.5)
    child = os.fork()
    if not child:
        status = 1
        try:
            equal(path, whole, 15.0, 0.5)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    equal(path, whole, 2.0, 6.0)


def test_what_is_damaged_is_refused_in_every_part(tmp_path):
    data = bytearray(written(tmp_path / "a.ogg", noise(3.0, RATE)).read_bytes())
    path = tmp_path / "b.ogg"
    path.write_bytes(data[: len(data) // 2])
    for start_s in (0.5, 1.0):
        with pytest.raises(decoding.BadAudio, match="inside a page|stream's end"):
            decoding.decode(path, start_s, 0.2)
