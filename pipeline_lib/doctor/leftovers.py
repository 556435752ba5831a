"""Leftovers of kills and of changed parameters: temporary files, and unfinished work that nothing continues."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.doctor.processes import orphans, running
from pipeline_lib.doctor.result import Result
from pipeline_lib.params import outputs
from pipeline_lib.params.sections import Params
from pipeline_lib.shards import packs

OUTPUTS = ("data", "models", "metrics", "work")
STAGES = ("transcription", "embedding", "finetuning")


def leftovers(root: Path, params: dict[str, Any] | None) -> Iterator[Result]:
    """Yield the results for temporary files and for work folders, by whether the present parameters continue them.

    Args:
        root: of the project
        params: content of params.yaml; None leaves the work folders out
    """
    yield _temporary(root)
    if params is not None:
        yield from _work(root, params)


def figures(root: Path, params: Params) -> Iterator[Result]:
    """Yield the result for figures and metrics that no entry of the present parameters writes.

    Args:
        root: of the project
        params: read from params.yaml
    """
    stale = outputs.stale_figures(params, root)
    if not stale:
        yield Result("figures and metrics", "ok", "each of an entry of params.yaml")
        return
    listed = ", ".join(str(path.relative_to(root)) for path in stale[:5])
    message = f"{listed}{' ...' if len(stale) > 5 else ''}: no entry of params.yaml writes it"
    yield Result("figures and metrics", "warning", message, "--fix removes it", lambda: _remove(root, stale))


def cache(root: Path, limit_gb: float) -> Result:
    """Return the size of the cache of transcripts and layers.

    Args:
        root: of the project
        limit_gb: of machine.yaml
    """
    paths = packs.packs_in(root / "work")
    total = _human(sum(map(size, paths)))
    message = f"{total} of transcripts and layers in work/cache, at most {limit_gb:g} GB (cache.limit_gb)"
    return Result("cache", "ok", f"{message}; --clear-cache removes them" if paths else "empty")


def clear_cache(root: Path) -> str:
    """Remove all transcripts and layers of the cache that no run reads, and return what was done.

    Args:
        root: of the project
    """
    done = packs.trim(root / "work", 0.0)
    if packs.packs_in(root / "work"):
        return f"{done or 'cache: nothing was removed'}; a run reads what is left"
    return done or "cache: it is empty"


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() or file.is_symlink())


def _temporary(root: Path) -> Result:
    folders = [root / name for name in OUTPUTS]
    paths = sorted(
        path
        for folder in folders
        if folder.is_dir()
        for pattern in (".*.tmp", ".*.old")
        for path in folder.rglob(pattern)
        if not path.is_symlink()
    )
    paths = [path for path in paths if not any(parent in paths for parent in path.parents)]
    if not paths:
        return Result("temporary files", "ok", "none")
    total = sum(map(size, paths))
    message = f"{len(paths)} left by a kill, {_human(total)}, {paths[0].relative_to(root)} first"
    if _busy(root):
        return Result("temporary files", "ok", f"{len(paths)} of a running stage")
    return Result("temporary files", "warning", message, "--fix removes them", lambda: _remove(root, paths))


def _work(root: Path, params: dict[str, Any]) -> Iterator[Result]:
    done = _finished(root, params)
    abandoned: list[Path] = []
    unfinished: list[Path] = []
    for stage, name, folder in _folders(root):
        gone = name is not None and name not in params.get(stage, {})
        (abandoned if gone or (stage, name) in done else unfinished).append(folder)
    if unfinished:
        listed = ", ".join(f"{path.relative_to(root)} {_human(size(path))}" for path in unfinished[:5])
        yield Result("unfinished work", "ok", f"{listed}; the next dvc repro continues what fits")
    if not abandoned:
        yield Result("abandoned work", "ok", "none")
    elif _busy(root):
        yield Result("abandoned work", "ok", f"{len(abandoned)} folders, a stage runs")
    else:
        total = sum(map(size, abandoned))
        listed = ", ".join(str(path.relative_to(root)) for path in abandoned[:5])
        message = f"{listed}{' ...' if len(abandoned) > 5 else ''} ({_human(total)}): no parameter continues it"
        yield Result("abandoned work", "warning", message, "--fix removes it", lambda: _remove(root, abandoned))


def _folders(root: Path) -> Iterator[tuple[str, str | None, Path]]:
    """Yield stage, entry and path of each folder with shards or checkpoints; folders of logs alone are left out."""
    for stage in STAGES:
        for path in sorted((root / "work" / stage).glob("*")):
            if not path.is_dir() or path.is_symlink():
                continue
            if stage == "finetuning":
                yield from ((stage, path.name, deep) for deep in sorted(path.glob("*")) if _holds_work(deep))
            elif _holds_work(path):
                yield stage, None, path


def _holds_work(folder: Path) -> bool:
    patterns = ("shard_*", "checkpoint_*", "best_*", "finished.json")
    return folder.is_dir() and any(next(folder.rglob(pattern), None) is not None for pattern in patterns)


def _finished(root: Path, params: dict[str, Any]) -> set[tuple[str, str | None]]:
    """Return stages and entries that dvc.lock records with the present parameters: nothing continues their work."""
    try:
        locked = YAML(typ="safe", pure=False).load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    except (OSError, YAMLError, TypeError, KeyError):
        return set()
    finished: set[tuple[str, str | None]] = set()
    same = {name: _same(entry, params) for name, entry in locked.items()}
    if same.get("transcription"):
        finished.add(("transcription", None))
    entries = [f"embedding@{name}" for name in params.get("embedding", {})]
    if entries and all(same.get(entry) for entry in entries):
        finished.add(("embedding", None))
    finished |= {("finetuning", name) for name in params.get("finetuning", {}) if same.get(f"finetuning@{name}")}
    return finished


def _same(entry: dict[str, Any], params: dict[str, Any]) -> bool:
    for dotted, locked in (entry.get("params") or {}).get("params.yaml", {}).items():
        value: Any = params
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value != locked:
            return False
    return True


def _busy(root: Path) -> bool:
    """Return whether a process of this project runs, orphans included."""
    return bool(running(root, "dvc", "stages") or orphans(root) or _locked(root))


def _locked(root: Path) -> bool:
    """Return whether a run holds the lock of a work folder."""
    for lock in (root / "work").rglob(".lock"):
        try:
            with lock.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remove(root: Path, paths: list[Path]) -> str:
    if _busy(root):
        return "nothing was removed, a stage runs now"
    freed = 0
    for path in paths:
        freed += size(path)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return f"removed {', '.join(str(path.relative_to(root)) for path in paths)}: {_human(freed)}"


def _human(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"
