"""What is spoken: the same bytes whenever, by how many processes and after whatever else it is spoken."""

import csv
import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from pipeline_lib.demonstration.generate import generate
from pipeline_lib.demonstration.prosody import Prosody
from pipeline_lib.demonstration.synthesis import SAMPLE_RATE, Utterance, speak
from pipeline_lib.demonstration.table_layout import COLUMNS
from pipeline_lib.demonstration.voices import VOICES
from pipeline_lib.labels import consensus
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.demonstration import DemonstrationSettings

USUAL = Prosody(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, rise=False)
SENTENCE = "my brother forgot the piano on monday"
TINY = DemonstrationSettings(train=40, dev=20, test=16)


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("demonstration") / "english"
    generate(TINY, out)
    return out


def test_two_runs_with_one_process_and_two_give_the_same_bytes(corpus, tmp_path):
    generate(TINY, tmp_path / "again", workers=2)
    assert contents(tmp_path / "again") == contents(corpus)


def test_an_utterance_does_not_depend_on_what_was_said_before():
    voices = [voice.espeak for split in VOICES for voice in VOICES[split]][::17]
    forwards = {voice: speak(Utterance(SENTENCE, voice, USUAL)) for voice in voices}
    for voice in reversed(voices):
        np.testing.assert_array_equal(speak(Utterance(SENTENCE, voice, USUAL)), forwards[voice])


def test_a_fresh_process_says_the_same():
    here = speak(Utterance(SENTENCE, "gmw/en-US+f4", USUAL))
    code = (
        "import sys; from pipeline_lib.demonstration.synthesis import *;"
        f"w = speak(Utterance({SENTENCE!r}, 'gmw/en-US+f4', Prosody(0.,0.,0.,0.,0.,0.,0.,False)));"
        "sys.stdout.buffer.write(w.tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    np.testing.assert_array_equal(np.frombuffer(there, np.int16), here)


def test_the_table_lists_every_recording_and_its_consensus(corpus):
    with (corpus / "corpus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["audio"] for row in rows} == {f"audio/{path.name}" for path in (corpus / "audio").iterdir()}
    assert len(rows) == 76
    assert all(row["emotion"] == consensus(json.loads(row["votes"])) for row in rows)
    assert "synthetic" in (corpus / "README.txt").read_text()


def test_recordings_are_16_khz_mono_flac_of_a_few_seconds(corpus):
    for path in (corpus / "audio").iterdir():
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", SAMPLE_RATE, 1)
        assert 0.7 < info.duration < 8


def test_another_seed_gives_another_corpus(corpus, tmp_path):
    generate(TINY.model_copy(update={"seed": 2}), tmp_path / "other")
    assert contents(tmp_path / "other")["corpus.csv"] != contents(corpus)["corpus.csv"]


@pytest.mark.parametrize(("name", "sign"), [("rate", -1), ("pauses", 1)])
def test_rate_shortens_and_pauses_lengthen(name, sign):
    low, high = (len(speak(Utterance(SENTENCE, "gmw/en+m4", replace(USUAL, **{name: value})))) for value in (-1.5, 1.5))
    assert sign * (high - low) > 0.1 * low


def test_fade_makes_the_end_louder_than_the_beginning():
    def balance_db(fade):
        wave = speak(Utterance(SENTENCE, "gmw/en+m4", replace(USUAL, fade=fade))).astype(float)
        half = len(wave) // 2
        return 10 * np.log10(np.square(wave[half:]).mean() / np.square(wave[:half]).mean())

    assert balance_db(1.5) > balance_db(-1.5) + 6


def test_an_unknown_voice_is_refused():
    with pytest.raises(ValueError, match="eSpeak NG"):
        speak(Utterance(SENTENCE, "gmw/en+nobody_of_that_name", USUAL))


def test_hidden_labels_in_a_table_are_refused():
    with pytest.raises(ParameterError, match=r"hidden is 8, layout table has no unlabelled split"):
        DemonstrationSettings.parse({"hidden": 8}, "demonstration.english")


def test_a_test_split_that_cannot_be_balanced_is_refused():
    with pytest.raises(ParameterError, match=r"demonstration.english.test is 20: .*multiple of 8"):
        DemonstrationSettings.parse({"test": 20}, "demonstration.english")
