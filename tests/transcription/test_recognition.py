"""What reaches an engine, and in which portions."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio
from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import CanarySettings, TranscriptionSettings
from pipeline_lib.tables.origin import NO_MODEL, Origin
from pipeline_lib.transcription.recognition import Recognizer, load


class DurationEngine:
    """Transcribes the duration in tenths of a second; no more than ``room`` recordings fit into its memory."""

    origin = NO_MODEL

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: list[list[int]] = []

    def transcribe(self, waveforms):
        if len(waveforms) > self.room:
            raise MemoryError
        tenths = [round(10 * len(waveform) / SAMPLE_RATE) for waveform in waveforms]
        self.batches.append(tenths)
        return [f"t{tenth}" for tenth in tenths]


def recognizer(engine: DurationEngine, batch_size: int = 4, max_chunk_s: float = 40.0) -> Recognizer:
    canary = CanarySettings(checkpoint="any", batch_size=batch_size, max_chunk_s=max_chunk_s)
    return Recognizer(TranscriptionSettings(engine="canary", canary=canary), lambda: engine)


@pytest.fixture
def recordings(tmp_path):
    def write(*seconds: float, level: float = 0.3) -> list[Path]:
        paths = []
        for i, duration in enumerate(seconds):
            paths.append(tmp_path / f"{i}_{level}.wav")
            noise = np.random.default_rng(i).uniform(-level, level, int(duration * SAMPLE_RATE))
            soundfile.write(paths[-1], noise, SAMPLE_RATE, subtype="FLOAT")
        return paths

    return write


def test_texts_come_in_the_order_of_the_files_and_batches_are_transcribed_longest_first(recordings):
    engine = DurationEngine()
    assert recognizer(engine, batch_size=3).texts(recordings(0.5, 2.0, 1.0, 0.7)) == ["t5", "t20", "t10", "t7"]
    assert engine.batches == [[20, 10, 5], [7]]


def test_on_a_cpu_recordings_and_pieces_go_one_at_a_time(recordings):
    engine = DurationEngine(room=1)
    engine.origin = Origin("cpu", "float32")
    assert recognizer(engine, batch_size=3, max_chunk_s=2.0).texts(recordings(0.5, 3.0, 1.0))[::2] == ["t5", "t10"]
    assert [len(batch) for batch in engine.batches] == [1, 1, 1, 1] and engine.batches[0] == [5]


def test_memory_that_does_not_hold_one_recording_on_a_cpu_is_told_with_its_remedy(recordings):
    engine = DurationEngine(room=0)
    engine.origin = Origin("cpu", "float32")
    with pytest.raises(InputError, match=r"1 recordings of up to 1.0 s in .*; lower transcription.canary.max_chunk_s"):
        recognizer(engine).texts(recordings(1.0))


def test_long_audio_is_transcribed_in_pieces_and_joined(recordings):
    engine = DurationEngine()
    (text,) = recognizer(engine, max_chunk_s=2.0).texts(recordings(5.0))
    pieces = [int(word[1:]) for word in text.split()]
    assert len(pieces) == 3 and sum(pieces) in range(48, 53) and max(pieces) <= 20


def test_pieces_of_a_long_recording_do_not_overfill_the_batch(recordings):
    engine = DurationEngine()
    recognizer(engine, batch_size=2, max_chunk_s=2.0).texts(recordings(9.0, 1.0))
    assert max(map(len, engine.batches)) == 2


def test_silence_is_an_empty_text_and_does_not_reach_the_engine(recordings):
    engine = DurationEngine()
    quiet, loud = recordings(1.0, level=0.0005), recordings(1.2)
    assert recognizer(engine).texts([*quiet, *loud]) == ["", "t12"]
    assert engine.batches == [[12]]


def test_a_silent_piece_of_a_long_recording_is_left_out(tmp_path):
    waveform = np.zeros(4 * SAMPLE_RATE)
    waveform[:SAMPLE_RATE] = np.random.default_rng(0).uniform(-0.3, 0.3, SAMPLE_RATE)
    soundfile.write(tmp_path / "half.wav", waveform, SAMPLE_RATE, subtype="FLOAT")
    engine = DurationEngine()
    (text,) = recognizer(engine, max_chunk_s=2.0).texts([tmp_path / "half.wav"])
    assert len(text.split()) == 1 and len(engine.batches) == 1


def test_a_batch_that_does_not_fit_is_halved_once_with_a_message(recordings, capsys):
    engine = DurationEngine(room=2)
    paths = recordings(1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert recognizer(engine).texts(paths) == ["t10", "t9", "t8", "t7", "t6", "t5"]
    assert engine.batches == [[10, 9], [8, 7], [6], [5]]
    output = capsys.readouterr().err
    assert output.count("going on with half as many at once") == 1
    assert "out of memory with 4 recordings of up to 1.0 s in transcription.canary; going on" in output


def test_a_half_batch_that_does_not_fit_stops_the_run_with_the_key_to_lower(recordings):
    with pytest.raises(
        InputError, match=r"2 recordings of up to 1\.0 s in .*, cut in two; lower transcription.canary.b"
    ):
        recognizer(DurationEngine(room=1)).texts(recordings(1.0, 0.9, 0.8, 0.7))


def test_a_single_recording_that_does_not_fit_stops_the_run(recordings):
    with pytest.raises(InputError, match=r"1 recordings .*; lower transcription.canary.max_chunk_s \(now 40\)"):
        recognizer(DurationEngine(room=0), batch_size=1).texts(recordings(1.0))


def test_a_file_that_went_missing_is_named(tmp_path):
    with pytest.raises(BadAudio, match="gone.wav"):
        recognizer(DurationEngine()).texts([tmp_path / "gone.wav"])


def test_every_engine_of_the_settings_is_loaded_but_the_reference(tmp_path):
    engines = get_args(TranscriptionSettings.model_fields["engine"].annotation)
    assert engines == ("canary", "whisper", "reference")
    with pytest.raises(ValueError, match="'reference' transcribes no audio"):
        load(TranscriptionSettings(engine="reference"))
