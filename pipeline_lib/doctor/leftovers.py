"""What kills and changed parameters leave on the disk: temporary files, and unfinished work that nothing continues."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.doctor.processes import orphans, running
from pipeline_lib.doctor.result import Result

OUTPUTS = ("data", "models", "metrics", "work")
STAGES = ("transcription", "embedding", "finetuning")


def leftovers(root: Path, params: dict[str, Any] | None) -> Iterator[Result]:
    """Report temporary files, and work folders by whether the present parameters would go on from them."""
    yield _temporary(root)
    if params is not None:
        yield from _work(root, params)


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    every = path.rglob("*") if path.is_dir() else [path]
    return sum(each.lstat().st_size for each in every if each.is_file() or each.is_symlink())


def _temporary(root: Path) -> Result:
    places = [root / name for name in OUTPUTS]
    found = sorted(
        each
        for place in places
        if place.is_dir()
        for pattern in (".*.tmp", ".*.old")
        for each in place.rglob(pattern)
        if not each.is_symlink()
    )
    found = [each for each in found if not any(parent in found for parent in each.parents)]
    if not found:
        return Result("temporary files", "ok", "none")
    total = sum(map(size, found))
    said = f"{len(found)} left by a kill, {_human(total)}, {found[0].relative_to(root)} first"
    if _busy(root):
        return Result("temporary files", "ok", f"{len(found)} of a run at work")
    return Result("temporary files", "warning", said, "--mend removes them", lambda: _removed(root, found))


def _work(root: Path, params: dict[str, Any]) -> Iterator[Result]:
    done = _finished(root, params)
    abandoned, unfinished = [], []
    for stage, name, folder in _folders(root):
        gone = name is not None and name not in params.get(stage, {})
        (abandoned if gone or (stage, name) in done else unfinished).append(folder)
    if unfinished:
        listed = ", ".join(f"{each.relative_to(root)} {_human(size(each))}" for each in unfinished[:5])
        yield Result("unfinished work", "ok", f"{listed}; the next dvc repro goes on from what fits")
    if not abandoned:
        yield Result("abandoned work", "ok", "none")
    elif _busy(root):
        yield Result("abandoned work", "ok", f"{len(abandoned)} folders, a run is at work")
    else:
        total = sum(map(size, abandoned))
        listed = ", ".join(str(each.relative_to(root)) for each in abandoned[:5])
        said = f"{listed}{' ...' if len(abandoned) > 5 else ''} ({_human(total)}): no parameter leads there any more"
        yield Result("abandoned work", "warning", said, "--mend removes it", lambda: _removed(root, abandoned))


def _folders(root: Path) -> Iterator[tuple[str, str | None, Path]]:
    """Yield stage, entry and folder of all that holds shards or checkpoints; logs alone are kept."""
    for stage in STAGES:
        for each in sorted((root / "work" / stage).glob("*")):
            if not each.is_dir() or each.is_symlink():
                continue
            if stage == "finetuning":
                yield from ((stage, each.name, deep) for deep in sorted(each.glob("*")) if _holds_work(deep))
            elif _holds_work(each):
                yield stage, None, each


def _holds_work(folder: Path) -> bool:
    patterns = ("shard_*", "checkpoint_*", "best_*")
    return folder.is_dir() and any(next(folder.rglob(each), None) is not None for each in patterns)


def _finished(root: Path, params: dict[str, Any]) -> set[tuple[str, str | None]]:
    """Return the stages that dvc.lock records with the present parameters: they discarded the work they continued."""
    try:
        locked = YAML(typ="safe", pure=False).load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    except (OSError, YAMLError, TypeError, KeyError):
        return set()
    found: set[tuple[str, str | None]] = set()
    same = {name: _same(entry, params) for name, entry in locked.items()}
    if same.get("transcription"):
        found.add(("transcription", None))
    entries = [f"embedding@{name}" for name in params.get("embedding", {})]
    if entries and all(same.get(each) for each in entries):
        found.add(("embedding", None))
    found |= {("finetuning", name) for name in params.get("finetuning", {}) if same.get(f"finetuning@{name}")}
    return found


def _same(entry: dict[str, Any], params: dict[str, Any]) -> bool:
    for dotted, locked in (entry.get("params") or {}).get("params.yaml", {}).items():
        value: Any = params
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value != locked:
            return False
    return True


def _busy(root: Path) -> bool:
    """Return whether something of this project runs now, orphans included."""
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


def _removed(root: Path, found: list[Path]) -> str:
    if _busy(root):
        return "nothing was removed, a run is at work now"
    freed = 0
    for each in found:
        freed += size(each)
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
    return f"removed {', '.join(str(each.relative_to(root)) for each in found)}: {_human(freed)}"


def _human(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"
