"""A part of a recording is the same sound as a file of its own, sample for sample, and no more of the file is read."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import BadAudio
from pipeline_lib.errors import InputError
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.segments import Segment

FIRST, LAST = 12_345, 47_891  # samples


@pytest.fixture
def noise(tmp_path):
    """A recording of 4 s, and samples FIRST to LAST of it in a file of their own."""
    samples = (0.1 * np.random.default_rng(0).standard_normal(64_000)).astype(np.float32)
    soundfile.write(tmp_path / "whole.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "cut.wav", samples[FIRST:LAST], 16_000, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize(
    ("start_s", "duration_s"), [(0.0, None), (0.5, None), (0.3, 0.7), (1.00003, 0.12345), (2.2, 5.0)]
)
def test_a_chunk_of_a_segment_is_the_same_chunk_of_a_file_of_its_own(noise, start_s, duration_s):
    part = Segment(noise / "whole.wav", FIRST / 16_000, LAST / 16_000)
    found = segments.decode(part, start_s, duration_s)
    np.testing.assert_array_equal(found, decoding.decode(noise / "cut.wav", start_s, duration_s))


def test_a_path_is_the_whole_recording_and_one_time_alone_is_enough(noise):
    samples = soundfile.read(noise / "whole.wav", dtype="float32")[0]
    path = noise / "whole.wav"
    np.testing.assert_array_equal(segments.decode(path), samples)
    np.testing.assert_array_equal(segments.decode(segments.recording(path, None, 1.5)), samples[:24_000])
    np.testing.assert_array_equal(segments.decode(segments.recording(path, 1.5, None)), samples[24_000:])
    assert segments.recording(path, None, None) == path
    assert segments.recording(path, 0.0, None) == Segment(path)


def test_only_the_segment_is_read(noise, monkeypatch):
    read = []
    decoded = soundfile.SoundFile.read

    def counting(self, frames=-1, **options):
        block = decoded(self, frames, **options)
        read.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    segments.decode(Segment(noise / "whole.wav", 1.0, 1.25))
    decoding.examine(noise / "whole.wav", segment=(1.0, 1.25))
    assert sum(read) == 2 * 4_000


def test_a_chunk_behind_the_segment_is_refused_as_behind_a_file(noise):
    with pytest.raises(BadAudio, match="the chunk begins at 1.5 s, after the segment's end"):
        segments.decode(Segment(noise / "whole.wav", 1.0, 2.0), 1.5)


def corpus(**columns) -> Manifest:
    frame = pd.DataFrame({"utterance_id": ["a", "b", "c"], "audio": ["x.wav", None, "y.wav"], **columns})
    return Manifest(frame, "toy", ("joy",))


def test_a_manifest_s_rows_are_paths_segments_or_nothing(tmp_path):
    digests = {"audio_sha256": ["0", np.nan, "1"]}
    timed = corpus(start_s=[np.nan, np.nan, 2.0], end_s=[np.nan, np.nan, np.nan], **digests)
    assert segments.of(timed, tmp_path) == [tmp_path / "x.wav", None, Segment(tmp_path / "y.wav", 2.0)]
    assert segments.content(timed) == [["0", None, None], [None, None, None], ["1", 2.0, None]]
    assert segments.of(corpus(), tmp_path) == [tmp_path / "x.wav", None, tmp_path / "y.wav"]
    assert segments.missing_message(timed, "not told") == "1 of 3 utterances have no audio, 'b' first: not told"
    with pytest.raises(InputError, match="no path below"):
        segments.of(Manifest(timed.frame.assign(audio=["../x.wav", None, "y.wav"]), "toy", ("joy",)), tmp_path)


@pytest.mark.parametrize(
    ("segment", "reason", "message"),
    [
        ((1.0, 4.2), "segment", r"ends behind the recording's end at 4\.000 s \(are the times in milliseconds or"),
        ((1000.0, 1500.0), "segment", r"begins behind the recording's end at 4\.000 s \(are the times in milli"),
        ((4.0, None), "segment", "begins behind"),
        ((2.0, 2.0), "segment", "expected 0 <= start_s < end_s"),
        ((2.0, 1.0), "segment", "expected 0 <= start_s < end_s"),
        ((-0.5, 1.0), "segment", "expected 0 <= start_s < end_s"),
        ((1.0, 1.05), "too short", "lasts 0.050 s"),
        ((0.0, 3.5), "too long", "lasts 3.50 s, expected at most 3 s"),
        ((0.5, None), "too long", "lasts 3.50 s"),
        ((2.0, 2.5), "silent", "no sample beyond"),
    ],
)
def test_a_segment_that_cannot_be_used_is_named_by_its_reason(noise, segment, reason, message):
    samples = soundfile.read(noise / "whole.wav", dtype="float32")[0]
    samples[32_000:40_000] = 0
    soundfile.write(noise / "whole.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(BadAudio, match=message) as caught:
        decoding.examine(noise / "whole.wav", 0.1, 3.0, segment=segment)
    assert caught.value.reason == reason


def test_a_part_of_a_longer_stereo_recording_is_measured_alone(tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal((64_000, 2))
    samples[40_000:40_100, 0] = 1.0
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert decoding.examine(tmp_path / "a.wav", 0.1, 1.0, segment=(1.0, 2.0)).clipped == 0
    found = decoding.examine(tmp_path / "a.wav", 0.1, 1.0, segment=(2.25, 2.75))
    assert found.clipped == 100 / (2 * 8_000)
    np.testing.assert_allclose(found.samples, np.clip(samples[36_000:44_000].mean(axis=1), -1, 1), atol=1e-7)


def test_a_time_that_was_rounded_upwards_is_the_recording_s_end(noise):
    assert len(decoding.examine(noise / "whole.wav", 0.1, 3.0, segment=(2.0, 4.04)).samples) == 32_000


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_segments_of_every_kind_of_container_are_the_stretch_of_the_whole(tmp_path, name):
    samples = (0.1 * np.random.default_rng(0).standard_normal(2 * 44_100)).astype(np.float32)
    soundfile.write(tmp_path / name, samples, 44_100)
    whole = decoding.decode(tmp_path / name)
    part = decoding.examine(tmp_path / name, 0.1, 0.5, segment=(0.75, 1.25)).samples
    np.testing.assert_allclose(part, whole[12_000:20_000], atol=1e-6)
    np.testing.assert_array_equal(part, segments.decode(Segment(tmp_path / name, 0.75, 1.25)))
