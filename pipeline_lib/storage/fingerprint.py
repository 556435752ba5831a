"""What stands for inputs, parameters and code in the name of a folder of shards."""

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline_lib.errors import InputError


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits that stand for the parts, which are what JSON can hold, NaN excepted."""
    said = json.dumps(parts, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files.

    Raises:
        InputError: there is nothing at ``path``
    """
    if path.is_dir():
        return _digest_of({each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()})
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected a file or a folder")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(*places: ModuleType | Path) -> str:
    """Return the SHA-256 of the Python files of modules, packages, files and folders, wherever they lie."""
    files: dict[str, Path] = {}
    for place in places:
        path = Path(str(place.__file__)) if isinstance(place, ModuleType) else Path(place)
        root = path.parent if path.name == "__init__.py" else path
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist, it has no code to digest")
        for each in root.rglob("*.py") if root.is_dir() else [root]:
            files[each.relative_to(root.parent).as_posix()] = each
    return _digest_of(files)


def _digest_of(files: dict[str, Path]) -> str:
    """Return the SHA-256 over names and contents."""
    return hashlib.sha256(json.dumps({name: file_digest(files[name]) for name in sorted(files)}).encode()).hexdigest()
