"""A file is whole or not there, and what the dead left aside goes."""

import os
import subprocess
import sys

import pytest

from pipeline_lib.storage import atomic


def test_a_file_is_written_with_its_folder_and_nothing_else_is_left(tmp_path):
    atomic.write(tmp_path / "a" / "b.json", "ü")
    atomic.write(tmp_path / "a" / "b.json", b"2")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("b.json", b"2")]


def test_an_error_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "b.json").write_text("1")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(tmp_path / "b.json", "2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("b.json", "1")]


def test_what_a_dead_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead, living = done.stdout.strip(), os.getppid()
    (tmp_path / f".a.{dead}.tmp").mkdir()
    (tmp_path / f".a.{dead}.tmp" / "half").touch()
    kept = {f".a.{living}.tmp", f".b.{dead}.tmp", ".a.notes.tmp"}
    for name in (f".a.{dead}.old", *kept):
        (tmp_path / name).touch()
    assert atomic.aside(tmp_path / "a") == tmp_path / f".a.{os.getpid()}.tmp"
    assert {path.name for path in tmp_path.iterdir()} == kept
