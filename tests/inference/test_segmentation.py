"""Turns by probabilities that are laid out by hand, parts of equal length, and silero-vad where it is installed."""

from importlib.util import find_spec

import numpy as np
import pytest

from pipeline_lib.audio.decoding import BadAudio
from pipeline_lib.demonstration.prosody import Prosody
from pipeline_lib.demonstration.synthesis import Utterance, speak
from pipeline_lib.errors import InputError
from pipeline_lib.inference import segmentation
from pipeline_lib.inference.segmentation import cut, parts, turns
from tests.recordings import tone, written

SILERO = find_spec("silero_vad") is not None and find_spec("onnxruntime") is not None


def frames(*stretches):
    return np.concatenate([np.full(n, p, np.float32) for n, p in stretches])


def test_a_turn_begins_at_a_half_and_survives_short_pauses():
    # frames of 32 ms: silence 1.6 s, speech 0.96, pause 0.32, speech 0.64, silence 1.28
    speech = frames((50, 0.0), (30, 0.9), (10, 0.1), (20, 0.4), (40, 0.0))
    assert turns(speech, 4.8) == [(1.5, 3.62)]  # 50 * 0.032 - 0.1 and 110 * 0.032 + 0.1


def test_a_pause_of_half_a_second_ends_a_turn():
    assert turns(frames((30, 0.9), (16, 0.0), (30, 0.9)), 2.432) == [(0.0, 1.06), (1.372, 2.432)]
    assert turns(frames((30, 0.9), (15, 0.0), (30, 0.9)), 2.4) == [(0.0, 2.4)]


def test_a_click_is_no_turn_and_silence_has_none():
    assert turns(frames((30, 0.0), (7, 0.9), (30, 0.0)), 2.144) == []
    assert turns(frames((60, 0.49)), 1.92) == []
    assert turns(np.zeros(0, np.float32), 0.0) == []


def test_margins_do_not_overlap():
    first, second = turns(frames((30, 0.9), (16, 0.0), (30, 0.9)), 2.432)
    assert first[1] < second[0]


def test_a_long_turn_is_divided_where_speech_is_least_probable():
    speech = frames((100, 0.9), (1, 0.5), (99, 0.9))  # 6.4 s, the least probable at 3.2 s
    assert turns(speech, 6.4, longest_s=4.0) == [(0.0, 3.2), (3.2, 6.4)]


@pytest.mark.parametrize("longest_s", [1.0, 1.7, 3.0, 20.0])
def test_parts_of_a_long_turn_follow_each_other_and_are_not_too_long(longest_s):
    speech = 0.6 + 0.4 * np.random.default_rng(1).random(2000).astype(np.float32)
    times = turns(speech, 64.0, longest_s)
    assert times[0][0] == 0.0 and times[-1][1] == 64.0
    assert all(one[1] == two[0] for one, two in zip(times, times[1:], strict=False))
    lengths = np.array([end - start for start, end in times])
    assert lengths.max() <= longest_s + 1e-3 and lengths.min() >= longest_s / 4 - 1e-3


def test_equal_parts_cover_the_recording(tmp_path):
    assert cut(tone(10.0), 4.0) == [(0.0, 10 / 3), (10 / 3, 20 / 3), (20 / 3, 10.0)]
    assert cut(tone(10.0), 10.0, longest_s=5.0) == [(0.0, 5.0), (5.0, 10.0)]
    path = written(tmp_path / "a.mp3", tone(6.0, 44_100), 44_100)
    times = parts(path, 2.0, start_s=1.0, end_s=5.0)
    assert times == [(1.0, 3.0), (3.0, 5.0)]
    with pytest.raises(BadAudio, match="holds nothing, it lasts"):
        parts(path, 2.0, start_s=9.0)
    with pytest.raises(InputError, match="segments are 0.0, expected vad or a number of seconds above 0"):
        cut(tone(1.0), 0.0)


def test_blocks_of_a_long_recording_are_its_samples(tmp_path, monkeypatch):
    """What is decoded by blocks is what is decoded whole, also where rates differ."""
    samples = tone(2.5, 44_100, 300.0) * np.linspace(0, 1, 110_250, dtype=np.float32)
    path = written(tmp_path / "a.flac", samples, 44_100)
    monkeypatch.setattr(segmentation, "BLOCK_S", 0.4)
    seen = []
    monkeypatch.setattr(segmentation, "probabilities", lambda blocks: seen.extend(blocks) or np.zeros(0))
    assert parts(path, "vad") == []
    np.testing.assert_allclose(np.concatenate(seen), segmentation.decode(path), atol=1e-6)
    assert max(map(len, seen)) == 6400


def test_without_silero_the_message_says_how_to_install_it(monkeypatch):
    segmentation.network.cache_clear()
    monkeypatch.setattr(segmentation, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"silero-vad, which is not installed; pip install 'speech-emotion-pipeline\["):
        cut(tone(1.0), "vad")


@pytest.mark.skipif(not SILERO, reason="silero-vad and onnxruntime (extra predict) are not installed")
class TestSilero:
    def test_probabilities_do_not_depend_on_the_blocks(self):
        samples = 0.1 * np.random.default_rng(1).standard_normal(60_000).astype(np.float32)
        whole = segmentation.probabilities([samples])
        assert len(whole) == 118  # 60,000 / 512, filled up
        by_blocks = segmentation.probabilities(np.array_split(samples, 7))
        np.testing.assert_array_equal(by_blocks, whole)

    def test_turns_are_those_of_sileros_own_code(self):
        import torch
        from silero_vad import get_speech_timestamps, load_silero_vad

        samples = _speech()
        options = {"min_silence_duration_ms": 500, "speech_pad_ms": 100, "return_seconds": True, "time_resolution": 3}
        theirs = get_speech_timestamps(torch.from_numpy(samples), load_silero_vad(onnx=False), **options)
        ours = cut(samples, "vad")
        np.testing.assert_allclose(ours, [(turn["start"], turn["end"]) for turn in theirs], atol=1e-3)
        assert len(ours) == 2


def _speech():
    """Two sentences of eSpeak NG with two seconds of silence around each."""
    texts = ("I did not expect to see you here today.", "Please close the door.")
    pause, samples = np.zeros(32_000, np.float32), np.zeros(32_000, np.float32)
    for text in texts:
        words = speak(Utterance(text, "gmw/en-US", Prosody(0, 0, 0, 0, 0, 0, 0, rise=False)))
        samples = np.concatenate([samples, words.astype(np.float32) / 32_768, pause])
    return samples
