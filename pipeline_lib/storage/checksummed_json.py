"""JSON that notices a flipped bit: its own SHA-256 stands in it, and those of the files beside it.

``{"sha256": {"": <of all the rest, keys sorted>, "head.safetensors": <of that file>}, ...}``
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError

SEAL = "sha256"


def dumps(said: Mapping[str, Any], beside: Mapping[str, bytes] | None = None, **options: Any) -> str:
    """Return ``said`` as JSON with its seal.

    Args:
        said: what JSON can hold, NaN excepted
        beside: contents of the files that belong to it, by name
        options: of ``json.dumps``
    """
    said = {name: each for name, each in said.items() if name != SEAL}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in (beside or {}).items()}
    return json.dumps({**said, SEAL: {**files, "": _digest(said, files)}}, allow_nan=False, **options)


def read(path: Path, required: bool = True) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the file says, without its seal, and the digests of the files beside it.

    Args:
        path: the file
        required: whether one without seal, as earlier code wrote them, is refused

    Raises:
        FileNotFoundError: there is none
        InputError: it is not JSON, or its seal does not match
    """
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error} (was it damaged?)") from None
    files = said.pop(SEAL, None) if isinstance(said, dict) else None
    if not isinstance(said, dict) or (files is None and required) or not isinstance(files, dict | None):
        raise InputError(f"{path} has no seal (damaged, or of older code?); run its stage again")
    if files is not None and files.pop("", None) != _digest(said, files):
        raise InputError(f"{path} does not match its seal (damaged, or changed by hand?); run its stage again")
    return said, files or {}


def check(path: Path, digest: str | None) -> None:
    """Refuse a file whose SHA-256 is not the sealed one; None checks nothing.

    Raises:
        InputError: it was damaged, or replaced
    """
    with path.open("rb") as file:
        if digest is not None and hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise InputError(f"{path} is damaged: it is not what was sealed; run its stage again")


def _digest(said: Mapping[str, Any], files: Mapping[str, str]) -> str:
    text = json.dumps([said, files], sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
