"""The function and the stage: which utterances are transcribed, stored and written."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.params.machine import TranscriptionMachine
from pipeline_lib.params.transcription import CanarySettings, ReferenceSettings, TranscriptionSettings, WhisperSettings
from pipeline_lib.shards.packs import packs_in
from pipeline_lib.tables import manifest, transcripts
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import NO_MODEL, Origin
from pipeline_lib.transcription import transcribe as module
from pipeline_lib.transcription.transcribe import transcribe
from tests.transcription import counting


def corpus(root: Path, n: int) -> Manifest:
    """Write n recordings, longer and shorter ones in turn, with a reference transcript each."""
    rows = []
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        seconds = 0.3 + 0.1 * (i * 7 % 11)
        noise = np.random.default_rng(i).uniform(-0.3, 0.3, int(seconds * SAMPLE_RATE))
        soundfile.write(root / "wav" / f"{i}.wav", noise, SAMPLE_RATE)
        rows.append(
            {
                "utterance_id": f"u{i:02d}",
                "audio": f"wav/{i}.wav",
                "audio_sha256": f"{i:064d}",
                "duration_s": seconds,
                "split": ("train", "dev", "test")[i % 3],
                "subsets": [],
                "reference_text": f"samples {len(noise)}",
            }
        )
    frame = (
        pd.DataFrame(rows).reindex(columns=manifest.SCHEMA.names).astype({"audio": object, "reference_text": object})
    )
    return Manifest(frame, "tiny", ("happy", "sad"))


class Counter:
    """Transcribes the number of samples, and counts the recordings."""

    origin = NO_MODEL

    def __init__(self) -> None:
        self.count = 0

    def transcribe(self, waveforms):
        self.count += len(waveforms)
        return [f"samples {len(waveform)}" for waveform in waveforms]


SETTINGS = TranscriptionSettings(engine="canary", shard_size=4, canary=CanarySettings(checkpoint="any", batch_size=2))


def test_every_utterance_gets_its_own_text_and_the_speed_is_printed(tmp_path, capsys):
    tiny = corpus(tmp_path, 11)
    result = transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", lambda _: Counter())
    assert result.texts == tiny.frame["reference_text"].tolist()
    assert (result.engine, result.checkpoint) == ("canary", "any")
    assert f"{tiny.frame['duration_s'].sum():.0f} s of audio transcribed in " in capsys.readouterr().out


def test_transcribed_shards_are_not_transcribed_again_and_no_model_is_loaded_for_them(tmp_path):
    tiny = corpus(tmp_path, 11)
    first = transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", lambda _: Counter())

    def no_model(_):
        raise AssertionError("the model was loaded")

    assert transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", no_model) == first


@pytest.mark.parametrize(
    "changed",
    [
        {"silence_dbfs": -50.0},
        {"canary": CanarySettings(checkpoint="any", batch_size=2, pnc=True)},
        {"canary": CanarySettings(checkpoint="other", batch_size=2)},
        {"engine": "whisper", "whisper": WhisperSettings(checkpoint="any", batch_size=2)},
    ],
)
def test_other_options_do_not_take_the_shards(tmp_path, changed):
    tiny = corpus(tmp_path, 6)
    transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", lambda _: Counter())
    counter = Counter()
    transcribe(tiny, tmp_path, SETTINGS.model_copy(update=changed), tmp_path / "work", lambda _: counter)
    assert counter.count == 6


def transcribed(root: Path, tiny: Manifest, settings: TranscriptionSettings = SETTINGS, **how) -> int:
    """Return how many recordings the engine transcribes."""
    counter = Counter()
    transcribe(tiny, root, settings, root / "work", lambda _: counter, **how)
    return counter.count


def test_a_replaced_recording_costs_one_and_a_replaced_checkpoint_all(tmp_path):
    tiny = corpus(tmp_path, 3)
    (tmp_path / "some.nemo").write_bytes(b"1")
    local = SETTINGS.model_copy(update={"canary": CanarySettings(checkpoint=str(tmp_path / "some.nemo"))})
    assert transcribed(tmp_path, tiny, local) == 3
    tiny.frame.loc[1, "audio_sha256"] = "f" * 64
    assert transcribed(tmp_path, tiny, local) == 1
    (tmp_path / "some.nemo").write_bytes(b"2")
    assert transcribed(tmp_path, tiny, local) == 3


def test_a_checkpoint_that_lies_elsewhere_is_the_same(tmp_path):
    tiny = corpus(tmp_path, 3)
    for name in ("a.nemo", "b.nemo"):
        (tmp_path / name).write_bytes(b"1")
    one, other = (
        SETTINGS.model_copy(update={"canary": CanarySettings(checkpoint=str(tmp_path / name))})
        for name in ("a.nemo", "b.nemo")
    )
    assert [transcribed(tmp_path, tiny, one), transcribed(tmp_path, tiny, other)] == [3, 0]


def test_the_device_is_a_dependency_and_how_the_work_is_cut_is_none(tmp_path, monkeypatch):
    tiny = corpus(tmp_path, 6)
    assert transcribed(tmp_path, tiny) == 6
    other = SETTINGS.model_copy(update={"shard_size": 2, "canary": CanarySettings(checkpoint="any", batch_size=5)})
    assert transcribed(tmp_path, tiny, other) == 0
    monkeypatch.setattr(module, "kind_of", lambda device: "cuda")
    assert transcribed(tmp_path, tiny) == 6


def test_only_new_sounds_are_transcribed_whatever_else_changes(tmp_path, capsys):
    tiny = corpus(tmp_path, 12)
    eleven = Manifest(tiny.frame.iloc[:11].copy(), "tiny", tiny.labels)
    assert transcribed(tmp_path, eleven) == 11
    changed = eleven.frame.assign(split="train", speaker="s1", emotion="sad", utterance_id=eleven.ids[::-1])
    assert transcribed(tmp_path, Manifest(changed, "tiny", ("sad",))) == 0
    assert transcribed(tmp_path, Manifest(eleven.frame.iloc[3:].reset_index(drop=True), "tiny", tiny.labels)) == 0
    capsys.readouterr()
    assert transcribed(tmp_path, tiny) == 1
    assert "transcribing: 11 of 12 cached" in capsys.readouterr().err
    copies = tiny.frame.assign(audio_sha256=[tiny.frame["audio_sha256"][0]] * 6 + ["e" * 64] * 6)
    assert transcribed(tmp_path, Manifest(copies, "tiny", tiny.labels)) == 1
    assert "transcribing: 1 of 2 cached (10 more are copies of others)" in capsys.readouterr().err


def test_a_corpus_without_audio_is_refused(tmp_path):
    tiny = corpus(tmp_path, 3)
    tiny.frame["audio"] = None
    with pytest.raises(InputError, match="none of the 3 utterances of tiny has audio; .* engine 'reference'"):
        transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", lambda _: Counter())


@pytest.mark.parametrize(("given", "texts"), [("reference", ["Never spoken.", ""]), ("empty", ["", ""])])
def test_an_utterance_without_audio_gets_its_reference_transcript_or_none(tmp_path, capsys, given, texts):
    tiny = corpus(tmp_path, 11)
    result = tiny.frame["reference_text"].tolist()
    gone = [2, 5]
    tiny.frame.loc[gone, ["audio", "audio_sha256", "duration_s"]] = [None, None, np.nan]
    tiny.frame.loc[gone, "reference_text"] = ["Never  spoken. ", None]
    counter = Counter()
    metrics = transcribe(
        tiny, tmp_path, SETTINGS.model_copy(update={"without_audio": given}), tmp_path / "work", lambda _: counter
    )
    assert counter.count == 9
    assert [metrics.texts[row] for row in gone] == texts
    assert [text for row, text in enumerate(metrics.texts) if row not in gone] == [
        text for row, text in enumerate(result) if row not in gone
    ]
    assert metrics.decoding["without_audio"] == given
    n = sum(map(bool, texts))
    output = f"2 of 11 utterances have no audio, 'u02' first: {n} get their reference transcript, {2 - n} an empty one"
    assert output in capsys.readouterr().out


def test_a_segment_is_transcribed_as_a_file_of_its_own(tmp_path):
    tiny = corpus(tmp_path, 4)
    sounds = [soundfile.read(tmp_path / "wav" / f"{i}.wav", dtype="float32")[0] for i in range(4)]
    soundfile.write(tmp_path / "wav" / "all.wav", np.concatenate(sounds), SAMPLE_RATE)
    ends = np.cumsum([len(waveform) for waveform in sounds]) / SAMPLE_RATE
    whole = transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", lambda _: Sums())
    cut = Manifest(tiny.frame.assign(audio="wav/all.wav", start_s=[0.0, *ends[:-1]], end_s=ends), "tiny", tiny.labels)
    assert transcribe(cut, tmp_path, SETTINGS, tmp_path / "work", lambda _: Sums()).texts == whole.texts
    moved = Manifest(cut.frame.assign(end_s=ends - 0.1), "tiny", tiny.labels)
    assert [transcribed(tmp_path, cut), transcribed(tmp_path, moved)] == [0, 4]


class Sums:
    """Transcribes a digest of every sample."""

    origin = NO_MODEL

    def transcribe(self, waveforms):
        return [hashlib.sha256(waveform.tobytes()).hexdigest() for waveform in waveforms]


def test_the_reference_transcript_is_taken_as_it_is_and_needs_no_audio(tmp_path):
    tiny = corpus(tmp_path, 2)
    tiny.frame["audio"] = None
    tiny.frame.loc[0, "reference_text"] = "Don't  go, ever. "
    result = transcribe(tiny, tmp_path, TranscriptionSettings(engine="reference"), tmp_path / "work")
    assert result.texts == ["Don't go, ever.", tiny.frame.loc[1, "reference_text"]]
    assert (result.engine, result.checkpoint, result.decoding) == ("reference", "tiny", {"missing": "refuse"})


def test_a_missing_reference_transcript_is_refused_by_name_or_empty_by_setting(tmp_path):
    tiny = corpus(tmp_path, 2)
    tiny.frame.loc[1, "reference_text"] = None
    settings = TranscriptionSettings(engine="reference")
    with pytest.raises(InputError, match="1 of 2 utterances of tiny have no reference_text, 'u01' first"):
        transcribe(tiny, tmp_path, settings, tmp_path / "work")
    empty = settings.model_copy(update={"reference": ReferenceSettings(missing="empty")})
    assert transcribe(tiny, tmp_path, empty, tmp_path / "work").texts[1] == ""


STAGE = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import stages.transcription as stage
    from pipeline_lib.tables.origin import NO_MODEL
    from pipeline_lib.transcription import transcribe as room

    class Slow:
        origin = NO_MODEL

        def transcribe(self, waveforms):
            time.sleep(float(sys.argv[1]))
            return [f"samples {len(each)}" for each in waveforms]

    make = lambda settings: Slow()
    stage.transcribe = lambda *given, machine: room.transcribe(*given, make, machine=machine)
    stage.main(Path("manifest.parquet"), Path(sys.argv[2]), Path(sys.argv[3]), Path("work"))
    """
)
PARAMS = "corpus: {root: .}\ntranscription: {engine: canary, shard_size: 2, canary: {checkpoint: any, batch_size: 2}}\n"


def stage(folder: Path, seconds: float, out: str) -> subprocess.Popen:
    """Start the stage in that folder, with an engine that takes its time."""
    command = [sys.executable, "-c", STAGE, str(seconds), f"{out}.parquet", f"{out}.json"]
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(Path.cwd())})


def test_killed_in_the_middle_the_same_command_finishes_with_the_same_bytes(tmp_path):
    manifest.write(tmp_path / "manifest.parquet", corpus(tmp_path, 12))
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "machine.yaml").write_text("cache: {limit_gb: 0}")
    assert stage(tmp_path, 0, "whole").wait(timeout=120) == 0
    running = stage(tmp_path, 0.3, "cut")
    limit = time.monotonic() + 60
    while len(list((tmp_path / "work").glob("transcription/*/*/shard_*.json"))) < 2:
        assert time.monotonic() < limit
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "cut.parquet").exists()
    assert stage(tmp_path, 0, "cut").wait(timeout=120) == 0
    for kind in ("parquet", "json"):
        assert (tmp_path / f"cut.{kind}").read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    assert [path for path in (tmp_path / "work").rglob("*") if path.is_file()] == []  # cache.limit_gb is 0
    result = transcripts.read(tmp_path / "cut.parquet")
    assert result.texts == corpus(tmp_path, 12).frame["reference_text"].tolist()
    assert result.decoding["strategy"] == "greedy" and result.decoding["batch_size"] == 2
    metrics = json.loads((tmp_path / "cut.json").read_text())
    counted = {"utterances": 12, "with_reference": 12, "empty": 0, "looping": 0, "wer": 0.0, "unit": "words"}
    assert counted.items() <= metrics["all"].items()
    assert sorted(metrics) == ["all", "dev", "test", "train"]


TWO = TranscriptionMachine(executor=ExecutorSettings(workers=2))


def test_two_workers_transcribe_what_one_process_transcribes_and_take_its_shards(tmp_path):
    tiny = corpus(tmp_path, 11)
    result = transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", counting.make, machine=TWO)
    assert result.texts == tiny.frame["reference_text"].tolist()
    assert result.origin == Origin("cpu", "float32")  # as the workers' engines have it
    assert transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", None) == result  # nothing is left to load for
    transcribe(tiny, tmp_path, SETTINGS, tmp_path / "alone", counting.make)
    shared, alone = ({path.name: path.read_bytes() for path in packs_in(tmp_path / name)} for name in ("work", "alone"))
    assert shared == alone and len(alone) == 3


def test_a_worker_names_the_recording_that_went_missing(tmp_path):
    tiny = corpus(tmp_path, 6)
    (tmp_path / "wav" / "3.wav").unlink()
    with pytest.raises(InputError, match="3.wav"):
        transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", counting.make, machine=TWO)


def test_a_recording_that_kills_its_workers_is_named_and_all_others_are_transcribed(tmp_path):
    tiny = corpus(tmp_path, 6)
    make = partial(counting.make_deadly, tiny.frame["reference_text"][2])
    machine = TranscriptionMachine(executor=ExecutorSettings(workers=1, max_attempts=1))
    with pytest.raises(InputError, match=r"transcribing: 1 utterances killed .*'u02' \(killed by SIGSEGV"):
        transcribe(tiny, tmp_path, SETTINGS, tmp_path / "work", make, machine=machine)
    assert len(list((tmp_path / "work").glob("transcription/*/*/shard_*.json"))) == 1
