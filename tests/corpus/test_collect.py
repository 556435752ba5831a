"""From a folder to the manifest: nothing is lost, nothing bad gets through, the same bytes each time."""

import os
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError
from pipeline_lib.tables import manifest


@pytest.fixture
def own(tmp_path, say):
    """Write ``n`` recordings of two emotions and three splits, and the rows of corpus.csv as lists."""

    def write(n: int = 6):
        splits = ("train", "train", "train", "train", "dev", "test")
        rows = [[f"{i:02d}.wav", ("anger", "fear")[i % 2], splits[i % 6], f"s{splits[i % 6]}"] for i in range(n)]
        for row in rows:
            say(tmp_path / row[0])
        return rows

    return write


def table(root, rows, header=("audio", "emotion", "split", "speaker")):
    (root / "corpus.csv").write_text("\n".join(",".join(cells) for cells in [header, *rows]) + "\n")


def test_ravdess_from_end_to_end(ravdess, settings):
    collected = collect(settings("ravdess", dev_bal={"per_class": 2}))
    assert collected.metrics["rows"] == {"read": 90, "kept": 90, "copies": 0, "quarantined": 0}
    dev = collected.metrics["splits"]["dev"]
    assert (dev["utterances"], dev["speakers"], dev["hours"]) == (15, 1, round(15 * 0.2 / 3600, 4))
    assert dev["classes"] == {
        "anger": 2, "calm": 2, "disgust": 2, "fear": 2, "happiness": 2, "neutral": 1, "sadness": 2, "surprise": 2,
    }  # fmt: skip
    assert collected.metrics["warnings"] == "dev_bal expects 2 of each label and takes what there is: neutral 1."
    frame = collected.manifest.frame
    assert frame["utterance_id"].is_monotonic_increasing and list(frame.columns) == manifest.SCHEMA.names
    assert frame["audio_sha256"].nunique() == 90 and (frame["duration_s"] == 0.2).all()


def test_dev_bal_holds_the_same_number_of_each_label_and_nothing_else(ravdess, settings):
    result = collect(settings("ravdess", dev_bal={"per_class": 1, "seed": 5})).manifest
    chosen = result.frame[result.mask("dev_bal")]
    assert Counter(chosen["emotion"]) == dict.fromkeys(result.labels, 1)
    assert set(chosen["split"]) == {"dev"}
    other = collect(settings("ravdess", dev_bal={"per_class": 1, "seed": 6})).manifest
    assert set(other.frame["utterance_id"][other.mask("dev_bal")]) != set(chosen["utterance_id"])


def zoo(root):
    """Write every kind of bad recording; return name -> reason."""
    good = root / "00.wav"
    tone = 0.3 * np.sin(np.arange(8_000) * 0.2).astype(np.float32)
    broken = tone.copy()
    broken[77] = np.nan
    (root / "empty.wav").touch()
    (root / "renamed.wav").write_text("this is a letter, not a recording\n" * 50)
    (root / "folder.wav").mkdir()
    os.mkfifo(root / "pipe.wav")
    (root / "cut.wav").write_bytes(good.read_bytes()[:-100])
    soundfile.write(root / "whole.flac", tone, SAMPLE_RATE)
    (root / "torn.flac").write_bytes((root / "whole.flac").read_bytes()[:-100])
    (root / "whole.flac").unlink()
    soundfile.write(root / "nan.wav", broken, SAMPLE_RATE, subtype="FLOAT")
    soundfile.write(root / "silent.wav", np.zeros(8_000), SAMPLE_RATE)
    soundfile.write(root / "short.wav", tone[:1_500], SAMPLE_RATE)
    soundfile.write(root / "long.wav", np.tile(tone, 5), SAMPLE_RATE)
    return {
        "empty.wav": "empty",
        "renamed.wav": "not audio",
        "folder.wav": "not a file",
        "pipe.wav": "not a file",
        "cut.wav": "truncated",
        "torn.flac": "truncated",
        "nan.wav": "nan",
        "silent.wav": "silent",
        "short.wav": "too short",
        "long.wav": "too long",
        "gone.wav": "missing",
    }


def test_bad_audio_is_quarantined_with_its_reason_and_the_run_goes_on(tmp_path, own, settings):
    rows = own()
    bad = zoo(tmp_path)
    table(tmp_path, rows + [[name, "anger", "train", "strain"] for name in bad])
    collected = collect(settings("table", max_duration_s=2.0, max_quarantined={"share": 1.0}))
    reasons = dict(zip(collected.quarantine["file"], collected.quarantine["reason"].str.partition(":")[0]))
    assert reasons == bad
    assert collected.metrics["quarantined"] == dict(sorted(Counter(bad.values()).items()))
    assert collected.metrics["rows"] == {"read": 17, "kept": 6, "copies": 0, "quarantined": 11}
    assert set(collected.quarantine["stage"]) == {"corpus"}
    assert not collected.quarantine["reason"].str.contains(str(tmp_path)).any()  # the root is no part of the result
    short = collected.quarantine.set_index("file")["reason"]["short.wav"]
    assert short == "too short: lasts 0.094 s, expected at least 0.1 s"


def test_many_processes_give_what_one_gives(tmp_path, own, settings):
    rows = own(150)
    table(tmp_path, rows + [[name, "anger", "train", "strain"] for name in zoo(tmp_path)])
    one, two = (collect(settings("table", max_quarantined={"files": 20}), n) for n in (1, 2))
    assert one.metrics == two.metrics
    assert one.manifest.frame.equals(two.manifest.frame) and one.quarantine.equals(two.quarantine)


def test_a_recording_that_kills_its_process_is_found_and_quarantined(tmp_path, own, settings, monkeypatch):
    table(tmp_path, own(70))
    parent, examine = os.getpid(), decoding.examine

    def deadly(path, *limits, segment):
        if path.name == "33.wav" and os.getpid() != parent:
            os._exit(9)
        return examine(path, *limits, segment=segment)

    monkeypatch.setattr(decoding, "examine", deadly)
    collected = collect(settings("table"), workers=2)
    assert collected.quarantine["file"].tolist() == ["33.wav"]
    assert collected.metrics["quarantined"] == {"crash": 1}


def test_a_link_out_of_the_root_is_not_followed(tmp_path, own, settings, say):
    rows = own()
    root = tmp_path / "root"
    root.mkdir()
    for row in rows:
        shutil.copy(tmp_path / row[0], root / row[0])
    (root / "00.wav").unlink()
    (root / "00.wav").symlink_to(tmp_path / "00.wav")
    table(root, rows)
    with pytest.raises(InputError, match=r"line 2: audio: .*00\.wav leads to .*outside .* \(a symbolic link\?\)"):
        collect(settings("table", root=str(root)))


def test_a_second_recording_of_the_same_name_is_a_copy(ravdess, settings, say):
    shutil.copytree(ravdess / "Actor_03", ravdess / "copy" / "Actor_03")  # nested again, as in well-known archives
    collected = collect(settings("ravdess"))
    assert collected.metrics["rows"] == {"read": 105, "kept": 90, "copies": 15, "quarantined": 0}
    assert collected.metrics["quarantined"] == {"copy": 15}
    assert collected.manifest.frame["audio"].str.startswith("Actor_").all()


def test_the_same_bytes_under_two_names_are_counted_and_kept(tmp_path, own, settings):
    rows = own()
    shutil.copy(tmp_path / "00.wav", tmp_path / "01.wav")
    shutil.copy(tmp_path / "00.wav", tmp_path / "05.wav")
    table(tmp_path, rows)
    metrics = collect(settings("table")).metrics
    assert (metrics["duplicated_recordings"], metrics["rows"]["kept"]) == (2, 6)
    assert "1 recordings have the same bytes as one of another split." in metrics["warnings"]


def test_a_speaker_in_train_and_test_stops_the_stage_unless_it_is_allowed(tmp_path, own, settings):
    rows = own()
    for row in (rows[0], rows[5]):
        row[3] = "Anna"
    table(tmp_path, rows)
    with pytest.raises(
        InputError, match="1 speakers have utterances in two of train, dev and test: Anna. Cut by speaker"
    ):
        collect(settings("table"))
    collected = collect(settings("table", allow_speaker_leak=True, notice="A toy."))
    sentence = "1 speakers have utterances in two of train, dev and test: scores hold for known voices."
    assert collected.manifest.notice == f"A toy. {sentence}"
    assert sentence in collected.metrics["warnings"]


def test_rows_without_speaker_are_left_out_of_the_leak_check_and_counted(tmp_path, own, settings):
    rows = [[*row[:3], ""] for row in own()]
    table(tmp_path, rows)
    assert collect(settings("table")).metrics["splits"]["train"]["without_speaker"] == 4


def test_a_random_cut_through_speakers_must_be_named_twice(ravdess, settings):
    cut = {"method": "random"}
    with pytest.raises(InputError, match="6 speakers have utterances in two of train, dev and test"):
        collect(settings("ravdess", split=cut))
    notice = collect(settings("ravdess", split=cut, allow_speaker_leak=True)).manifest.notice
    assert notice.startswith("6 speakers have utterances in two of")


def test_merging_changes_emotions_votes_and_the_label_list(tmp_path, own, settings):
    rows = [[*row, '"{""fear"": 2, ""anger"": 1, ""awe"": 1}"'] for row in own()]
    table(tmp_path, rows, ("audio", "emotion", "split", "speaker", "votes"))
    result = collect(settings("table", merge={"fear": "alarm", "awe": "alarm"})).manifest
    assert result.labels == ("anger", "alarm")
    assert Counter(result.frame["emotion"]) == {"anger": 3, "alarm": 3}
    assert result.frame["votes"][0] == {"alarm": 3, "anger": 1}
    with pytest.raises(
        InputError, match=r"corpus.merge names 'feer', which is on no utterance \(did you mean 'fear'\?\)"
    ):
        collect(settings("table", merge={"feer": "alarm"}))


def test_labels_that_nothing_could_learn_are_refused(tmp_path, own, settings):
    rows = own()
    rows[5][1] = "awe"
    table(tmp_path, rows)
    with pytest.raises(InputError, match=r"label 'feer' is on no utterance \(did you mean 'fear'\?\)"):
        collect(settings("table", labels=["anger", "feer"]))
    with pytest.raises(InputError, match="label 'awe' has no utterance in train"):
        collect(settings("table"))
    metrics = collect(settings("table", labels=["anger", "fear"])).metrics
    assert metrics["splits"]["test"]["classes"] == {"anger": 0, "fear": 0, "not_scored": 1}


def test_o_x_and_unlabelled_are_kept_and_not_in_dev_filt(tmp_path, own, settings):
    rows = own(12)
    for row, emotion in zip([row for row in rows if row[2] == "dev"], ("X", "")):
        row[1] = emotion
    table(tmp_path, [*rows, ["12.wav", "O", "dev", "sdev"], ["13.wav", "fear", "dev", "sdev"]])
    shutil.copy(tmp_path / "00.wav", tmp_path / "12.wav")
    shutil.copy(tmp_path / "02.wav", tmp_path / "13.wav")
    collected = collect(settings("table"))
    assert collected.metrics["splits"]["dev"]["classes"] == {"anger": 0, "fear": 1, "O": 1, "X": 1, "unlabelled": 1}
    result = collected.manifest
    assert result.frame["utterance_id"][result.mask("dev_filt")].tolist() == ["13"]


def test_a_corpus_in_which_everything_is_bad_stops(tmp_path, own, settings):
    rows = own()
    for row in rows:
        (tmp_path / row[0]).unlink()
    table(tmp_path, rows)
    with pytest.raises(InputError, match=r"6 of 6 rows of the corpus cannot be used: missing 6 \(00\.wav: missing"):
        collect(settings("table"))


def test_a_stereo_recording_at_44_1_khz_is_as_good_as_any(tmp_path, own, settings, say):
    rows = own()
    stereo = 0.2 * np.sin(np.arange(44_100)[:, None] * [0.05, 0.07])
    soundfile.write(tmp_path / "00.wav", stereo, 44_100)
    table(tmp_path, rows)
    assert collect(settings("table")).manifest.frame["duration_s"][0] == 1.0


def test_an_excluded_utterance_is_quarantined_and_one_that_is_not_there_is_refused(ravdess, settings):
    name = "03-01-05-01-01-01-03"
    result = collect(settings("ravdess", dev_bal={"per_class": 2}, exclude=[name]))
    assert name not in set(result.manifest.ids)
    (reason,) = result.quarantine.loc[result.quarantine["utterance_id"] == name, "reason"]
    assert reason == "excluded: corpus.exclude names it"
    with pytest.raises(InputError, match=rf"corpus.exclude names '{name}x', .* \(did you mean '{name}'\?\)"):
        collect(settings("ravdess", dev_bal={"per_class": 2}, exclude=[f"{name}x"]))


def test_a_given_test_set_without_a_label_is_named_with_its_ceiling_and_chance(tmp_path, own, settings):
    rows = own(12)
    rows += [["12.wav", "joy", "train", "strain"], ["13.wav", "joy", "dev", "sdev"]]
    shutil.copy(tmp_path / "00.wav", tmp_path / "12.wav")
    shutil.copy(tmp_path / "04.wav", tmp_path / "13.wav")
    table(tmp_path, rows)
    collected = collect(settings("table"))
    assert collected.metrics["splits"]["test"]["ua"] == {
        "labels_absent": ["anger", "joy"], "ceiling": 0.3333, "chance": 0.3333,
    }  # fmt: skip
    assert (
        "test has no utterance of anger, joy: UA and macro-F1 reach at most 0.33 there"
        in (collected.metrics["warnings"])
    )
    assert "ua" not in collected.metrics["splits"]["train"]
