"""Digests of inputs, parameters and code, of which the name of a folder of shards is made."""

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline_lib.errors import InputError


def fingerprint(*parts: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of the parts, which are what JSON can hold, NaN excepted."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files; 64 hexadecimal digits.

    Raises:
        InputError: there is nothing at ``path``
    """
    if path.is_dir():
        return _digest_of({file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()})
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected a file or a folder")
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def code_digest(*sources: ModuleType | Path) -> str:
    """Return the SHA-256 of the Python files of modules, packages, files and folders, independent of their location.

    Raises:
        FileNotFoundError: a file or folder is missing
    """
    files: dict[str, Path] = {}
    for source in sources:
        path = Path(str(source.__file__)) if isinstance(source, ModuleType) else Path(source)
        root = path.parent if path.name == "__init__.py" else path
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist, expected Python code")
        for file in root.rglob("*.py") if root.is_dir() else [root]:
            files[file.relative_to(root.parent).as_posix()] = file
    return _digest_of(files)


def _digest_of(files: dict[str, Path]) -> str:
    """Return the SHA-256 over names and contents."""
    return hashlib.sha256(json.dumps({name: file_digest(files[name]) for name in sorted(files)}).encode()).hexdigest()
