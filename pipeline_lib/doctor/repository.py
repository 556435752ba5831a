"""DVC's own files after a kill, and conflict marks of an unfinished merge."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.doctor.processes import running
from pipeline_lib.doctor.result import Result

MARKS = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
FILES = ("params.yaml", "dvc.yaml", "dvc.lock")


def repository(root: Path) -> Iterator[Result]:
    """Yield the results for params.yaml, dvc.yaml, dvc.lock and DVC's locks below ``root``."""
    for name in FILES:
        yield from _file(root / name)
    yield _rwlock(root)
    yield _lock(root)


def _file(path: Path) -> Iterator[Result]:
    if not path.is_file():
        if path.name != "dvc.lock":
            yield Result(path.name, "problem", "is missing", "commands are run from the project's root")
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if MARKS.search(text):
        remedy = "git checkout --theirs dvc.lock, then dvc repro" if path.name == "dvc.lock" else "choose one side"
        yield Result(path.name, "problem", "has marks of a merge that was not finished", remedy)
        return
    try:
        loaded = _checked(path.name, YAML(typ="safe", pure=False).load(text) if text.strip() else None)
    except (YAMLError, ValueError) as error:
        message = f"cannot be read: {' '.join(str(error).split())[:120]}"
        if path.name == "dvc.lock":
            yield _damaged_lock(path, message)
        else:
            yield Result(path.name, "problem", message, f"git checkout {path.name}")
    else:
        yield Result(path.name, "ok", f"{len(loaded)} sections")


def _checked(name: str, loaded: Any) -> dict[str, Any]:
    """Return a file's content; ValueError where DVC would refuse it."""
    if not isinstance(loaded, dict):
        raise ValueError("is empty" if loaded is None else "holds no sections")
    if name == "dvc.lock":
        from dvc.schema import COMPILED_LOCKFILE_SCHEMA
        from voluptuous import Invalid

        try:
            COMPILED_LOCKFILE_SCHEMA(loaded)
        except Invalid as error:
            raise ValueError(str(error)) from None
    return loaded


def _damaged_lock(path: Path, message: str) -> Result:
    """Return the result for a damaged dvc.lock; DVC writes it in place, so that a kill can cut it short.

    The file is renamed, not removed: finished stages come back from DVC's run cache, and git has the last committed
    version.
    """
    alive = running(path.parent, "dvc")
    if alive:
        return Result(path.name, "warning", message, f"dvc runs (process {alive[0].pid}); wait for its end")
    remedy = "--fix renames it; dvc repro then takes finished stages from DVC's run cache"
    return Result(path.name, "problem", message, remedy, lambda: _rename(path))


def _rename(path: Path) -> str:
    if running(path.parent, "dvc"):
        return f"{path} was not changed, dvc runs now"
    damaged = path.with_name(f"{path.name}.damaged")
    path.replace(damaged)
    return f"moved {path} to {damaged.name}"


def _rwlock(root: Path) -> Result:
    """Return the result for DVC's rwlock, which blocks every later command where a killed DVC left it cut short."""
    path = root / ".dvc" / "tmp" / "rwlock"
    if not path.exists():
        return Result("DVC's rwlock", "ok", "none")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict) or not {*held} <= {"read", "write"}:
            raise ValueError
    except ValueError:
        message = f"{path} is {'empty' if path.stat().st_size == 0 else 'damaged'} and blocks every dvc repro"
        alive = running(root, "dvc")
        if alive:
            return Result("DVC's rwlock", "warning", message, f"dvc runs (process {alive[0].pid}); wait for its end")
        return Result("DVC's rwlock", "problem", message, f"rm {path}", lambda: _removed(root, path))
    n = sum(len(paths) for paths in held.values())
    return Result("DVC's rwlock", "ok", f"{n} paths held" if n else "free")  # DVC frees those of dead processes itself


def _lock(root: Path) -> Result:
    path = root / ".dvc" / "tmp" / "lock"
    alive = running(root, "dvc")
    if alive:
        return Result("dvc", "ok", f"runs: process {alive[0].pid}")
    hard = path.with_name("lock.hardlink")
    message = "none runs" if not hard.exists() else f"none runs, {hard} is left from one that was killed"
    return Result("dvc", "ok", message)  # the system frees the lock with the process


def _removed(root: Path, path: Path) -> str:
    if running(root, "dvc"):
        return f"{path} was not changed, dvc runs now"
    path.unlink(missing_ok=True)
    return f"removed {path}"
