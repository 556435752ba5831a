"""SHA256SUMS: sha256sum reads it, and with it no changed file gets into the manifest."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.corpus import checksums
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError


@pytest.fixture
def corpus(tmp_path, say):
    """Write six recordings, their table and checksums."""
    splits = ("train", "train", "train", "train", "dev", "test")
    for i in range(6):
        say(tmp_path / "audio" / f"{i:02d}.wav", seconds=0.5)
    rows = [f"audio/{i:02d}.wav,{('anger', 'fear')[i % 2]},{splits[i]},s{splits[i]}" for i in range(6)]
    (tmp_path / "corpus.csv").write_text("\n".join(["audio,emotion,split,speaker", *rows]) + "\n")
    (tmp_path / "audio" / ".hidden.wav").write_bytes(b"x")
    assert checksums.write(tmp_path) == 7
    return tmp_path


def reasons(settings) -> dict[str, str]:
    quarantine = collect(settings("table")).quarantine
    return dict(zip(quarantine["file"], quarantine["reason"].str.partition(":")[0]))


def test_sha256sum_finds_every_file_as_it_was(corpus):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=corpus, check=True)
    assert (corpus / "SHA256SUMS").read_text().count("\n") == 7


def test_names_with_newlines_and_backslashes_are_escaped_as_sha256sum_does(tmp_path):
    for name in ("a\nb.csv", "c\\d.csv", "e  f.csv", "*g.csv"):
        (tmp_path / name).write_text(name)
    checksums.write(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert set(checksums.read(tmp_path)) == {"a\nb.csv", "c\\d.csv", "e  f.csv", "*g.csv"}


def test_what_sha256sum_wrote_is_read(corpus):
    names = [f"./audio/{i:02d}.wav" for i in range(6)]
    with (corpus / "SHA256SUMS").open("w") as out:
        subprocess.run(["sha256sum", "--binary", *names, "corpus.csv"], stdout=out, cwd=corpus, check=True)
    assert set(checksums.read(corpus)) == {*(f"audio/{i:02d}.wav" for i in range(6)), "corpus.csv"}


def test_an_untouched_corpus_passes_and_gives_what_it_gives_without_checksums(corpus, settings):
    with_sums = collect(settings("table"))
    (corpus / "SHA256SUMS").unlink()
    without = collect(settings("table"))
    assert with_sums.metrics == without.metrics and with_sums.metrics["rows"]["kept"] == 6
    assert with_sums.manifest.frame.equals(without.manifest.frame)


def test_no_flipped_bit_gets_past_the_checksums(corpus, settings):
    path = corpus / "audio" / "01.wav"
    good = path.read_bytes()
    for bit in np.random.default_rng(1).integers(0, 8 * len(good), 25).tolist():
        data = bytearray(good)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert reasons(settings) == {"audio/01.wav": "changed"}


def test_a_recording_swapped_for_another_good_one_is_changed_and_a_new_one_unlisted(corpus, settings):
    shutil.copy(corpus / "audio" / "00.wav", corpus / "audio" / "02.wav")
    shutil.copy(corpus / "audio" / "00.wav", corpus / "audio" / "06.wav")
    table = (corpus / "corpus.csv").read_text() + "audio/06.wav,anger,train,strain\n"
    (corpus / "corpus.csv").write_text(table)
    sums = (corpus / "SHA256SUMS").read_text().splitlines()
    (corpus / "SHA256SUMS").write_text("\n".join(line for line in sums if "corpus.csv" not in line))
    assert reasons(settings) == {"audio/02.wav": "changed", "audio/06.wav": "unlisted"}


def test_a_missing_recording_keeps_its_own_reason(corpus, settings):
    (corpus / "audio" / "03.wav").unlink()
    assert reasons(settings) == {"audio/03.wav": "missing"}


def test_a_changed_or_missing_label_file_stops_the_stage(corpus, settings):
    (corpus / "corpus.csv").write_text((corpus / "corpus.csv").read_text().replace("anger", "angst"))
    with pytest.raises(InputError, match=r"corpus\.csv is not the file that SHA256SUMS was made from"):
        collect(settings("table"))
    (corpus / "notes.txt").write_text("read me")
    checksums.write(corpus)
    (corpus / "notes.txt").unlink()
    with pytest.raises(InputError, match=r"notes\.txt is missing and SHA256SUMS names it"):
        collect(settings("table"))


def test_a_damaged_checksum_file_is_refused_with_its_line(corpus, settings):
    lines = (corpus / "SHA256SUMS").read_text().splitlines()
    lines[2] = lines[2][5:]
    (corpus / "SHA256SUMS").write_text("\n".join(lines))
    with pytest.raises(InputError, match="SHA256SUMS, line 3: .* is no line of sha256sum"):
        collect(settings("table"))


def test_the_command_says_how_many(corpus):
    output = CliRunner().invoke(app, ["checksums", str(corpus)]).output
    assert f"7 files in {corpus / 'SHA256SUMS'}" in output.replace("\n", "")
    with pytest.raises(InputError, match="holds no recording and no label file"):
        (corpus / "empty").mkdir()
        checksums.write(corpus / "empty")


def test_clipped_recordings_are_counted_and_quarantined_only_where_asked(corpus, settings):
    samples = 0.3 * np.sin(np.arange(8_000) * 0.2)
    samples[:80] = 1.0  # 1 %
    soundfile.write(corpus / "audio" / "00.wav", samples, 16_000)
    checksums.write(corpus)
    assert collect(settings("table")).metrics["clipped_recordings"] == 1
    strict = collect(settings("table", max_clipped_share=0.005))
    assert strict.metrics["quarantined"] == {"clipped": 1} and strict.metrics["clipped_recordings"] == 0


def test_recordings_of_which_one_channel_was_taken_are_counted_and_printed(corpus, settings):
    sound = 0.3 * np.sin(np.arange(8_000) * 0.2)
    soundfile.write(corpus / "audio" / "00.wav", np.stack([sound, -0.98 * sound], axis=1), 16_000)
    surround = np.zeros((8_000, 6))
    surround[:, 2] = sound
    soundfile.write(corpus / "audio" / "01.wav", surround, 16_000)
    checksums.write(corpus)
    metrics = collect(settings("table")).metrics
    assert (metrics["centre_recordings"], metrics["one_channel_recordings"]) == (1, 1)
    assert "1 recordings are surround sound, whose centre channel was taken." in metrics["warnings"]  # is printed
    assert "1 recordings have channels that cancel or are empty" in metrics["warnings"]
