"""JSON that detects a flipped bit: it holds its own SHA-256, and those of the files that belong to it.

``{"sha256": {"": <of all other keys, sorted>, "head.safetensors": <of that file>}, ...}``
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError

CHECKSUM = "sha256"  # the key


def dumps(record: Mapping[str, Any], files: Mapping[str, bytes] | None = None, **options: Any) -> str:
    """Return the record as JSON with its checksum.

    Args:
        record: what JSON can hold, NaN excepted; an earlier checksum is left out
        files: contents of the files that belong to it, by name
        options: of ``json.dumps``
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in (files or {}).items()}
    return dumps_of(record, digests, **options)


def dumps_of(record: Mapping[str, Any], digests: Mapping[str, str], **options: Any) -> str:
    """Return the record as JSON with its checksum and those of files that are too large to be read at once.

    Args:
        record: see ``dumps``
        digests: SHA-256 of the files that belong to it, by name
        options: of ``json.dumps``
    """
    record = {name: value for name, value in record.items() if name != CHECKSUM}
    return json.dumps({**record, CHECKSUM: {**digests, "": _digest(record, digests)}}, allow_nan=False, **options)


def read(path: Path, required: bool = True) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the record without its checksum, and the SHA-256 of the files that belong to it, by name.

    Args:
        path: the JSON file
        required: whether a file without checksum, as earlier code wrote it, is refused

    Raises:
        FileNotFoundError: there is no such file
        InputError: it is not JSON, or does not match its checksum
    """
    try:
        record = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error} (was it damaged?)") from None
    digests = record.pop(CHECKSUM, None) if isinstance(record, dict) else None
    if not isinstance(record, dict) or (digests is None and required) or not isinstance(digests, dict | None):
        raise InputError(f"{path} has no checksum (damaged, or of older code?); run its stage again")
    if digests is not None and digests.pop("", None) != _digest(record, digests):
        raise InputError(f"{path} does not match its checksum (damaged, or changed by hand?); run its stage again")
    return record, digests or {}


def check(path: Path, digest: str | None) -> None:
    """Refuse a file whose SHA-256 is another than its record holds.

    Args:
        path: the file
        digest: SHA-256, 64 hexadecimal digits; None checks nothing

    Raises:
        InputError: the file was damaged or replaced
    """
    with path.open("rb") as file:
        if digest is not None and hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise InputError(f"{path} is damaged: it does not match its checksum; run its stage again")


def _digest(record: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    text = json.dumps([record, digests], sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
