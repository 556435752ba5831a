"""Whether the files of a project are those that dvc.lock records, without DVC.

A file's checksum is its MD5, a folder's that of the list of its files' (``dvc_data``'s ``Tree.digest``).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, load_yaml, read_params

LOCK, IGNORE = "dvc.lock", ".dvcignore"


def refuse_stale(project: Path, stages: Iterable[str], unchecked: Iterable[str] = ()) -> None:
    """Refuse a project of which a stage has not run, or whose files or parameters were changed since it ran.

    Args:
        project: its folder
        stages: names as dvc.lock has them, ``finetuning@audio``
        unchecked: paths whose content is not compared, as a corpus of many gigabytes

    Raises:
        InputError: the first stage that is stale, with what differs
    """
    path = project / LOCK
    if not path.is_file():
        raise InputError(f"{project} has no {LOCK}, expected a project whose stages have run; run dvc repro")
    known = load_yaml(path).get("stages", {})
    params, ignored = read_params(project / PARAMS), _ignored(project)
    seen: dict[str, str | None] = {}
    skipped = set(unchecked)
    for name in stages:
        if name not in known:
            raise InputError(f"stage {name} has not run ({LOCK} does not have it); run dvc repro")
        entry = known[name]
        for keys in entry.get("params", {}).values():
            for key, value in keys.items():
                if _value(params, key) != value:
                    raise InputError(
                        f"stage {name} is stale: {key} of {PARAMS} was changed since it ran; run dvc repro"
                    )
        for kind, verb in (("deps", "it read"), ("outs", "it wrote")):
            for item in entry.get(kind, []):
                where, digest = item["path"], item.get("md5")
                if where in skipped or digest is None:
                    continue
                if where not in seen:
                    seen[where] = _digest(project / where, ignored)
                if seen[where] != digest:
                    what = "is missing" if seen[where] is None else "was changed since"
                    raise InputError(f"stage {name} is stale: {where}, which {verb}, {what}; run dvc repro")


def _value(params: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, None where there is none."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _ignored(project: Path) -> list[str]:
    """Return the names that .dvcignore leaves out."""
    path = project / IGNORE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def _digest(path: Path, ignored: list[str]) -> str | None:
    """Return DVC's checksum of a file or folder, None where there is nothing."""
    if path.is_dir():
        listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in _files(path, ignored)]
        listed.sort(key=lambda item: item["relpath"])
        return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    return _md5(path) if path.is_file() else None


def _files(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        if any(fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from _files(path, ignored)
        else:
            yield path


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
