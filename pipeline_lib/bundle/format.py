"""The format of a bundle: a folder of JSON and safetensors, every file of which ``bundle.json`` names with its SHA-256.

============================ =========================================================================================
bundle.json                  format and version, what the system predicts and reads, encoders, priors, provenance,
                             licences, versions; its own checksum and that of every other file
models/<expert>/             a trained expert as ``experts.disk`` writes it, of folds a folder a member
models/rebalancing/<entry>/  back ends, LDA, PLDA, temperature and priors, see ``rebalancing.model``
models/fusion/               the fitted fusion
encoders/<name>/             checkpoints of encoders and of Whisper, where they were copied
scores/details.json          scores of the tables that the system was packed beside, where there are any
============================ =========================================================================================

``README.md``, ``LICENSE`` and files whose name begins with a dot may lie beside, and copies of checkpoints that the
record names without holding them; nothing else does.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.storage import checksummed_json

RECORD, FORMAT, VERSION = "bundle.json", "speech-emotion-bundle", 1
SUFFIXES = (".json", ".safetensors", ".txt", ".model")  # the last two are vocabularies of tokenizers
BESIDE = ("README.md", "LICENSE")
MODELS, ENCODERS, SCORES = "models", "encoders", "scores/details.json"

# by version: a record of it as one of the next; version 1 is the first
CONVERSIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def is_bundle(folder: Path) -> bool:
    """Return whether a folder has a bundle's record."""
    return (folder / RECORD).is_file()


def read(folder: Path) -> dict[str, Any]:
    """Return the record of a bundle, of the present version, after every file was verified.

    Args:
        folder: of the bundle

    Raises:
        InputError: the folder is no bundle, is of newer code or of a version that is not converted, or a file is
            missing, damaged, a link or not listed
    """
    path = folder / RECORD
    try:
        record, digests = checksummed_json.read(path)
    except FileNotFoundError:
        raise InputError(f"{folder} has no {RECORD}, expected the folder that ser bundle wrote") from None
    except InputError as error:
        raise InputError(str(error).replace("run its stage again", "pack or pull the bundle again")) from None
    if record.get("format") != FORMAT:
        raise InputError(f"{path} is of format {record.get('format')!r}, expected {FORMAT!r} (of another program?)")
    record = _converted(path, record)
    encoders = record.get("encoders", {})
    verify(folder, digests, [name for name, known in encoders.items() if not known["copied"]])
    return record


def digest_of(folder: Path) -> str:
    """Return the SHA-256 of the record, which names that of every file: another one means another bundle."""
    return hashlib.sha256((folder / RECORD).read_bytes()).hexdigest()


def verify(folder: Path, digests: dict[str, str], beside: Sequence[str] = ()) -> None:
    """Refuse a bundle whose files are not those that its record names.

    Args:
        folder: of the bundle
        digests: SHA-256 by path below the folder
        beside: names of checkpoints below ``encoders/`` that are no part of it, and verified when they are read

    Raises:
        InputError: see ``read``
    """
    for name, digest in sorted(digests.items()):
        path = folder / _allowed(folder, name)
        if any(part.is_symlink() for part in (path, *list(path.parents)[: len(PurePosixPath(name).parts) - 1])):
            raise InputError(f"{path} is a link, expected a file of the bundle; pack or pull the bundle again")
        if not path.is_file():
            raise InputError(f"{folder} is incomplete: {name} is missing; pack or pull the bundle again")
        try:
            checksummed_json.check(path, digest)
        except InputError:
            raise InputError(
                f"{path} is damaged: it does not match the checksum in {RECORD}; pack or pull the bundle again"
            ) from None
    others = {*files_of(folder)} - {*digests} - {RECORD, *BESIDE}
    unlisted = sorted(name for name in others if not (name.startswith(f"{ENCODERS}/") and name.split("/")[1] in beside))
    if unlisted:
        raise InputError(f"{folder} holds {unlisted[0]!r}, which {RECORD} does not name; remove it")


def files_of(folder: Path) -> Iterable[str]:
    """Yield the paths of a folder's files below it, hidden ones and what hidden folders hold left out."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_dir() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a bundle whose other files lie in the folder.

    Args:
        folder: of the bundle
        record: without format, version and checksums

    Raises:
        InputError: a file is neither JSON nor safetensors nor a vocabulary
    """
    names = [name for name in files_of(folder) if name not in (RECORD, *BESIDE)]
    for name in names:
        _allowed(folder, name)
    digests = {name: _sha256(folder / name) for name in names}
    record = {"format": FORMAT, "format_version": VERSION, **record}
    text = checksummed_json.dumps_of(record, digests, indent=1, sort_keys=True)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _converted(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    version = record.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{path} has format version {json.dumps(version)}, expected a whole number")
    if version > VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads up to {VERSION}: upgrade speech-emotion-pipeline"
        )
    for earlier in range(version, VERSION):
        if earlier not in CONVERSIONS:
            raise InputError(
                f"{path} has format version {version}, which this code does not convert; pack the bundle again"
            )
        record = CONVERSIONS[earlier](record)
    return record


def _allowed(folder: Path, name: str) -> str:
    """Return the path of a listed file, refused where it leaves the folder or is of another kind."""
    parts = PurePosixPath(name).parts
    outside = not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name
    if outside or parts[0] not in (MODELS, ENCODERS, "scores") or PurePosixPath(name).suffix not in SUFFIXES:
        raise InputError(
            f"{folder} names {name!r}, expected files of {MODELS}, {ENCODERS} and scores that end in"
            f" {', '.join(SUFFIXES)}"
        )
    return name
