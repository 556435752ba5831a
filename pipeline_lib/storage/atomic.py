"""Files that are whole or not there: written aside, brought to the disk, renamed into place.

What a killed run left aside is cleared when the same file or folder is written again.
"""

import glob
import os
import shutil
from pathlib import Path


def aside(path: Path, suffix: str = "tmp") -> Path:
    """Return the hidden name beside ``path`` under which this process writes it, its folder made, dead ones' cleared.

    Args:
        path: the file or folder that is to be
        suffix: ``tmp`` for what is to come, ``old`` for what was there
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for end in ("tmp", "old"):
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.{end}"):
            owner = stale.name.split(".")[-2]
            if owner.isdecimal() and not _lives(int(owner)):
                _remove(stale)
    return path.with_name(f".{path.name}.{os.getpid()}.{suffix}")


def write(path: Path, content: str | bytes) -> None:
    """Write a file; a reader sees the old one or the new one."""
    temporary = aside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
