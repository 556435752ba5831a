"""A reader sees the earlier file or folder or the new one, and leftovers of killed processes are removed."""

import errno
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_lib.doctor.leftovers import leftovers
from pipeline_lib.storage import atomic

HOST = socket.gethostname()


def forked(act: Callable[[], object]) -> tuple[int, int]:
    """Run ``act`` in a forked process; return its number and how it ended, negative for a signal."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return child, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below the folder, hidden ones included."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_folder(folder: Path, content: bytes, then: Callable[[], object] = lambda: None) -> None:
    """Replace the folder by one of two files, each with ``content``."""
    with atomic.replace_folder(folder) as temporary:
        (temporary / "one").write_bytes(content)
        (temporary / "deep").mkdir()
        (temporary / "deep" / "two").write_bytes(content)
        then()


def test_a_file_is_written_with_its_folder_and_nothing_else_is_left(tmp_path):
    atomic.write_file(tmp_path / "a" / "b.json", "ü\r\n")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"\xc3\xbc\r\n"
    atomic.write_file(tmp_path / "a" / "b.json", b"2")
    assert contents(tmp_path) == {"a/b.json": b"2"}


def test_an_unprepared_folder_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic.write_file(tmp_path / "a" / "b.json", "1", prepare=False)
    assert contents(tmp_path) == {} and not (tmp_path / "a").exists()


def test_an_error_leaves_the_earlier_file_and_folder(tmp_path, monkeypatch):
    (tmp_path / "b.json").write_text("1")
    write_folder(tmp_path / "c", b"1")
    before = contents(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_file(tmp_path / "b.json", "2")
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "c", b"2")
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "c"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "three").touch()
    write_folder(tmp_path / "c", b"1", (tmp_path / "c" / "three").stat)  # the old one stays until the end
    assert contents(tmp_path) == {"c/one": b"1", "c/deep/two": b"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_the_earlier_folder_comes_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    write_folder(tmp_path / "c", b"1")
    rename = Path.rename

    def refused(path, target):
        if path.name.endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="Input/output"):
        write_folder(tmp_path / "c", b"2")
    assert contents(tmp_path) == {"c/one": b"1", "c/deep/two": b"1"}


def test_a_link_in_place_of_a_folder_is_replaced_and_its_target_stays(tmp_path):
    write_folder(tmp_path / "target", b"1")
    (tmp_path / "c").symlink_to(tmp_path / "target")
    write_folder(tmp_path / "c", b"2")
    assert not (tmp_path / "c").is_symlink() and (tmp_path / "c" / "one").read_bytes() == b"2"
    assert (tmp_path / "target" / "one").read_bytes() == b"1"


@pytest.mark.parametrize("number", range(8))
def test_a_kill_at_any_change_leaves_one_or_the_other_and_the_next_write_clears_up(tmp_path, monkeypatch, number):
    """Two syncs of files, two of folders, two renames, the sync of the parent and the removal of the earlier folder."""
    write_folder(tmp_path / "c", b"1")
    old, new = ({"c/deep/two": content, "c/one": content} for content in (b"1", b"2"))
    left = iter(range(8))

    def dying(change):
        def changed(*arguments, **options):
            if next(left, None) == number:
                killed()
            return change(*arguments, **options)

        return changed

    def act():
        os.fsync, Path.rename, shutil.rmtree = dying(os.fsync), dying(Path.rename), dying(shutil.rmtree)
        write_folder(tmp_path / "c", b"2")

    assert forked(act)[1] == -signal.SIGKILL
    seen = {name: content for name, content in contents(tmp_path).items() if name.startswith("c/")}
    assert seen == {5: {}}.get(number, old if number < 5 else new)  # at 5 it dies between the two renames
    write_folder(tmp_path / "c", b"2")
    assert contents(tmp_path) == new
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_kill_before_a_file_is_renamed_leaves_the_earlier_one_and_the_next_write_clears_up(tmp_path):
    atomic.write_file(tmp_path / "b.json", "1")

    def act():
        with atomic.replace_file(tmp_path / "b.json") as file:
            file.write(b"2")
            killed()

    child, status = forked(act)
    assert status == -signal.SIGKILL
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f".b.json.{HOST}.{child}.tmp", "b.json"]
    assert (tmp_path / "b.json").read_text() == "1"
    atomic.write_file(tmp_path / "b.json", "3")
    assert contents(tmp_path) == {"b.json": b"3"}


def test_only_leftovers_of_this_path_and_of_dead_processes_of_this_machine_are_removed(tmp_path):
    dead, living = forked(lambda: None)[0], os.getppid()
    (tmp_path / f".a.{HOST}.{dead}.tmp").mkdir()
    (tmp_path / f".a.{HOST}.{dead}.tmp" / "half").touch()
    kept = {f".a.{HOST}.{living}.tmp", f".b.{HOST}.{dead}.tmp", f".a.{HOST}.notes.tmp", f".a.other.{dead}.tmp"}
    kept |= {f".a.b.{HOST}.{dead}.tmp", f".a.{HOST}.{dead}.kept"}
    for name in (f".a.{HOST}.{dead}.old", f".a.{HOST}.{10**20}.tmp", *kept):
        (tmp_path / name).touch()
    atomic.clear_leftovers(tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_the_doctor_knows_the_temporary_names(tmp_path):
    for path in (tmp_path / "data" / "fused.parquet", tmp_path / "models" / "audio"):
        path.parent.mkdir()
    assert next(leftovers(tmp_path, None)).state == "ok"
    atomic.temporary_path(tmp_path / "data" / "fused.parquet").touch()
    assert next(leftovers(tmp_path, None)).state == "warning"
    atomic.temporary_path(tmp_path / "data" / "fused.parquet").unlink()
    atomic.temporary_path(tmp_path / "models" / "audio", "old").mkdir()
    assert next(leftovers(tmp_path, None)).state == "warning"


def test_the_temporary_name_is_hidden_and_holds_machine_and_process(tmp_path):
    assert atomic.temporary_path(tmp_path / "a") == tmp_path / f".a.{HOST}.{os.getpid()}.tmp"
    assert atomic.temporary_path(tmp_path / "a", "old") == tmp_path / f".a.{HOST}.{os.getpid()}.old"


def test_of_concurrent_writers_each_reader_sees_one_whole_content(tmp_path):
    path, length = tmp_path / "a", 20_000
    atomic.write_file(path, b"0" * length)

    def write(content):
        for _ in range(20):
            atomic.write_file(path, content * length)

    children = []
    for content in (b"1", b"2", b"3"):
        children.append(child := os.fork())
        if child == 0:
            try:
                write(content)
                os._exit(0)
            finally:
                os._exit(1)
    seen = set()
    waiting = set(children)
    while waiting:
        data = path.read_bytes()
        assert len(data) == length and len(set(data)) == 1
        seen.add(data[:1])
        for child in list(waiting):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                waiting.discard(child)
                assert status == 0
    assert path.read_bytes()[:1] in (b"1", b"2", b"3")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_file_and_folder_are_synced_after_the_content_and_after_the_name(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def recording(descriptor):
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((target.relative_to(tmp_path).as_posix(), sorted(path.name for path in tmp_path.iterdir())))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    hidden = f".a.{HOST}.{os.getpid()}.tmp"
    atomic.write_file(tmp_path / "a", b"1")
    assert synced == [(hidden, [hidden]), (".", ["a"])]
    (tmp_path / "a").unlink()
    synced.clear()
    write_folder(tmp_path / "a", b"1")
    names = [f"{hidden}/deep/two", f"{hidden}/deep", f"{hidden}/one", hidden]
    assert synced == [*((name, [hidden]) for name in names), (".", ["a"])]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_file_system_that_cannot_sync_folders_is_taken_and_a_disk_that_fails_is_not(tmp_path, monkeypatch, code):
    def refused(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refused)
    if code == errno.EINVAL:
        atomic.sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output"):
            atomic.sync_folder(tmp_path)


def test_lines_are_appended_to_a_log(tmp_path):
    atomic.append_line(tmp_path / "log", "ü")
    atomic.append_line(tmp_path / "log", "2")
    assert (tmp_path / "log").read_bytes() == "ü\n2\n".encode()
