"""Several recordings of one utterance: the best is taken whatever they are called, the others are counted."""

import shutil

import numpy as np
import pytest
import soundfile

from pipeline_lib.corpus import iemocap, msp_podcast
from pipeline_lib.corpus.collect import collect
from tests.corpus.licensed_layouts import iemocap_at, msp

SPLITS = ("train", "train", "train", "train", "dev", "test")


@pytest.fixture
def emodb(tmp_path, say):
    """Write six speakers with anger and fear."""
    for speaker in ("03", "08", "09", "10", "11", "13"):
        for letter in "WA":
            say(tmp_path / "wav" / f"{speaker}a01{letter}a.wav", seconds=0.5)
    return tmp_path


def usable(collected, utterance):
    (path,) = collected.manifest.frame["audio"][collected.manifest.frame["utterance_id"] == utterance]
    return path


def options(settings, reader="emodb", **more):
    return settings(reader, labels=["anger", "fear"], **more)


def lossy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    samples, rate = soundfile.read(source)
    soundfile.write(target, samples, rate)


@pytest.mark.parametrize("folder", ["AudioMP3", "zzz"])
@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_lossless_is_taken_before_lossy_wherever_it_lies(emodb, settings, folder, suffix):
    for path in sorted((emodb / "wav").iterdir()):
        lossy(path, emodb / folder / f"{path.stem}{suffix}")
    collected = collect(options(settings))
    assert collected.metrics["rows"] == {"read": 24, "kept": 12, "copies": 12, "quarantined": 0}
    assert collected.metrics["quarantined"] == {"copy": 12}
    assert collected.manifest.frame["audio"].str.endswith(".wav").all()
    assert set(collected.quarantine["reason"]) == {f"copy: wav/{p.name} is taken" for p in (emodb / "wav").iterdir()}
    assert collected.notices == ("12 rows are other copies of utterances that are kept (copy 12).",)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "silent"])
def test_a_bad_copy_never_costs_the_good_one(emodb, settings, damage):
    (emodb / "AudioMP3").mkdir()
    bad, good = emodb / "AudioMP3" / "03a01Wa.wav", emodb / "wav" / "03a01Wa.wav"
    content = {"empty": b"", "cut": good.read_bytes()[:-500], "text": b"a letter " * 99}.get(damage)
    if content is None:
        soundfile.write(bad, np.zeros(8_000), 16_000)
    else:
        bad.write_bytes(content)
    collected = collect(options(settings))
    assert usable(collected, "03a01Wa") == "wav/03a01Wa.wav"
    assert collected.metrics["rows"] == {"read": 13, "kept": 12, "copies": 1, "quarantined": 0}
    (reason,) = collected.quarantine["reason"]
    assert reason.startswith("copy: wav/03a01Wa.wav is taken; this one is ")


def test_a_good_lossy_copy_is_taken_before_a_damaged_lossless_one(emodb, settings):
    lossy(emodb / "wav" / "03a01Wa.wav", emodb / "zzz" / "03a01Wa.ogg")
    (emodb / "wav" / "03a01Wa.wav").write_bytes(b"")
    assert usable(collect(options(settings)), "03a01Wa") == "zzz/03a01Wa.ogg"


def test_where_all_copies_are_bad_the_utterance_is_lost_once(emodb, settings):
    (emodb / "other").mkdir()
    for folder in ("wav", "other"):
        (emodb / folder / "03a01Wa.wav").write_bytes(b"")
    collected = collect(options(settings))
    assert collected.metrics["rows"] == {"read": 13, "kept": 11, "copies": 1, "quarantined": 1}
    assert collected.metrics["quarantined"] == {"copy": 1, "empty": 1}


def test_more_bits_then_a_higher_rate_win_and_a_browsers_copy_loses_a_tie(emodb, settings):
    wav = emodb / "wav"
    samples, _ = soundfile.read(wav / "03a01Wa.wav")
    soundfile.write(wav / "03a01Wa (1).wav", samples, 16_000, subtype="PCM_24")
    soundfile.write(wav / "08a01Wa (1).wav", np.repeat(samples, 3), 48_000)
    shutil.copy(wav / "09a01Wa.wav", wav / "09a01Wa (1).wav")
    collected = collect(options(settings))
    assert [usable(collected, f"{speaker}a01Wa") for speaker in ("03", "08", "09")] == [
        "wav/03a01Wa (1).wav",
        "wav/08a01Wa (1).wav",
        "wav/09a01Wa.wav",
    ]


def test_two_recordings_of_one_name_that_last_differently_are_no_copies(emodb, settings, say):
    say(emodb / "other" / "03a01Wa.wav", seconds=1.0)
    collected = collect(options(settings))
    assert collected.metrics["quarantined"] == {"duplicate utterance_id": 1}
    (reason,) = collected.quarantine["reason"]
    expected = "it lasts 0.50 s, other/03a01Wa.wav 1.00 s and is taken (two recordings of one name?)"
    assert reason == f"duplicate utterance_id: {expected}"


def own(tmp_path, say, rows):
    """Write six recordings and a table with more rows."""
    lines = []
    for i, split in enumerate(SPLITS):
        say(tmp_path / f"{i}.wav")
        lines.append(f"{i}.wav,{('anger', 'fear')[i % 2]},{split},s{split}")
    (tmp_path / "corpus.csv").write_text("audio,emotion,split,speaker\n" + "\n".join([*lines, *rows]) + "\n")


def test_a_table_that_names_a_recording_in_two_containers(tmp_path, say, settings):
    own(tmp_path, say, ["0.ogg,anger,train,strain"])
    lossy(tmp_path / "0.wav", tmp_path / "0.ogg")
    collected = collect(settings("table"))
    assert usable(collected, "0") == "0.wav" and collected.metrics["rows"]["copies"] == 1


def test_the_same_samples_in_other_lossless_containers_are_one_recording_under_any_name(tmp_path, say, settings):
    own(tmp_path, say, ["again.flac,anger,train,strain", "third.aiff,anger,train,strain"])
    for name in ("again.flac", "third.aiff"):
        lossy(tmp_path / "0.wav", tmp_path / name)
    collected = collect(settings("table"))
    assert collected.metrics["rows"] == {"read": 8, "kept": 6, "copies": 2, "quarantined": 0}
    assert usable(collected, "0") == "0.wav"  # as many bits: the shortest name


def test_the_same_samples_under_another_label_or_split_are_kept_and_said(tmp_path, say, settings):
    own(tmp_path, say, ["again.flac,anger,test,stest", "other.flac,fear,train,strain"])
    for name in ("again.flac", "other.flac"):
        lossy(tmp_path / "0.wav", tmp_path / name)
    collected = collect(settings("table"))
    assert collected.metrics["rows"]["kept"] == 8
    assert "1 recordings have the same samples as one of another split" in collected.metrics["warnings"]


def test_copies_do_not_change_who_is_drawn(emodb, settings):
    cut = {"split": {"method": "random"}, "allow_speaker_leak": True, "max_quarantined": {"share": 1.0}}
    before = collect(options(settings, **cut)).manifest.frame
    for path in sorted((emodb / "wav").iterdir())[::2]:
        lossy(path, emodb / "AAA" / f"{path.stem}.ogg")
    after = collect(options(settings, **cut)).manifest.frame
    assert before.equals(after)


def test_all_copies_of_a_turn_are_read(tmp_path, say, settings):
    iemocap_at(tmp_path, say, sessions=1)
    wav = tmp_path / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    say(wav / "Ses01F_impro01_F000 (1).wav")
    frame = iemocap.read(tmp_path, settings("iemocap"))
    assert (frame["utterance_id"] == "Ses01F_impro01_F000").sum() == 2
    msp(tmp_path, "a.wav,A,5,5,5,1,Male,Train\n")
    say(tmp_path / "Audios" / "a.flac")
    say(tmp_path / "Audios" / "a.wav")
    assert msp_podcast.read(tmp_path, settings("msp_podcast"))["audio"].tolist() == ["Audios/a.flac", "Audios/a.wav"]
