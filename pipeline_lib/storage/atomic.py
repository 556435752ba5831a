"""Files and folders written atomically: under a temporary name, synced to the disk, renamed into place.

A temporary name, ``.<name>.<host>.<process>.tmp``, belongs to one process of one machine; several machines may write
into one folder. ``.old`` at its end marks an earlier folder that is being replaced. Leftovers of killed processes are
removed when the same machine writes the same path again; the doctor removes those of other machines.
"""

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)  # from file systems that cannot sync a folder, SMB for example


def temporary_path(path: Path, suffix: str = "tmp") -> Path:
    """Return the hidden path in the same folder that only this process of this machine writes to.

    Args:
        path: the file or folder to be written
        suffix: ``tmp`` for new content, ``old`` for a folder that is being replaced
    """
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{suffix}")


def clear_leftovers(path: Path) -> None:
    """Remove temporary files and folders of ``path`` whose process, of this machine, is dead."""
    prefix = f".{path.name}.{socket.gethostname()}."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*"):
        process, _, suffix = leftover.name.removeprefix(prefix).partition(".")
        if suffix in ("tmp", "old") and process.isdecimal() and not _is_alive(int(process)):
            _remove(leftover)


def write_file(path: Path, content: str | bytes, *, prepare: bool = True) -> None:
    """Write a file; a reader sees the earlier content or the new one.

    Args:
        path: the file
        content: text is encoded as UTF-8, newlines as they are
        prepare: make the folder and clear leftovers first; False where the caller looks after the folder
    """
    with replace_file(path, prepare=prepare) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replace_file(path: Path, *, prepare: bool = True) -> Iterator[BinaryIO]:
    """Yield a temporary file, opened for writing; on leaving it replaces ``path``, on an error nothing changes.

    Args:
        path: the file
        prepare: see ``write_file``
    """
    if prepare:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
    temporary = temporary_path(path)
    try:
        with synced_file(temporary) as file:
            yield file
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on leaving it replaces ``folder``, on an error nothing changes.

    Every file is synced before the folder gets its name. The earlier folder is renamed first, since a folder cannot be
    renamed onto another; after a kill between the two renames there is no folder of the name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    temporary, old = temporary_path(folder), temporary_path(folder, "old")
    _remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
        _sync_tree(temporary)
        if os.path.lexists(folder):
            folder.rename(old)
        temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        if os.path.lexists(old) and not os.path.lexists(folder):
            old.rename(folder)
        _remove(temporary)
        _remove(old)


@contextmanager
def synced_file(path: Path) -> Iterator[BinaryIO]:
    """Yield the file, opened for writing; after leaving its content is on the disk."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def append_line(path: Path, line: str) -> None:
    """Append a line to a log; afterwards it is on the disk.

    Args:
        path: the log, made where there is none
        line: text without newline
    """
    with path.open("ab") as file:
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync the names of the folder's files to the disk; file systems that cannot do so are passed over."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise


def _sync_tree(folder: Path) -> None:
    """Sync every file below the folder, then the folders; symbolic links are not followed."""
    for parent, _, names in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                _sync(path)
        sync_folder(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
