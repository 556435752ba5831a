"""A .nemo archive checked and unpacked here, so that NeMo reads the checked files and nothing else.

NeMo 3.0 reads an archive a moment later with its own parser and rules; by then the file may have been replaced. Here
the archive is opened once: its members are compared with a list, its configuration is read and checked
(``archive_config``), and the files that a restored Canary needs, no others, are copied from the same open file into a
temporary folder, from which NeMo restores.
"""

import errno
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.transcription import archive_config

LARGEST = 16 << 30  # bytes unpacked; Canary-1b-v2 has 6.4 GB
MOST_MEMBERS = 1_000
LARGEST_CONFIG = 4 << 20  # bytes
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
# canary-1b-v2 carries a second model, for time stamps; it is neither unpacked nor read
KNOWN = (CONFIG, WEIGHTS, "timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt")
TOKENIZER_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.(model|vocab|txt)")
UNSAFE, SAFE_VALUES = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", ("", "0")


def check(path: Path) -> dict[str, Any]:
    """Return the configuration to pass to NeMo, without interpolation.

    Raises:
        InputError: it is no archive, holds a link, device, absolute or climbing path, a file that is no part of a
            Canary, the same name twice or too much; lacks configuration or weights; or its configuration names what
            Canary does not need
    """
    with _opened(path) as archive:
        return _checked(path, archive)[0]


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a folder with the weights and the tokenizer's files, and the configuration to restore them with.

    Raises:
        InputError: see ``check``
        OSError: the disk has too little space to unpack it
    """
    with tempfile.TemporaryDirectory(prefix="nemo_") as folder:
        with _opened(path) as archive:
            config, members = _checked(path, archive)
            for name in sorted({WEIGHTS, *_tokenizer_files(config)}):
                _copy(archive, members[name], Path(folder) / name)
        yield Path(folder), config


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive for reading; errors of reading it become one sentence."""
    try:
        with _plain_or_compressed(path) as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        if isinstance(error, InputError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"{path} is not a .nemo archive (cut short, or a Git LFS pointer in its place?)") from None


def _plain_or_compressed(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except tarfile.ReadError:
        return tarfile.open(path, "r:gz")  # written by NeMo before 1.7


def _checked(path: Path, archive: tarfile.TarFile) -> tuple[dict[str, Any], dict[str, tarfile.TarInfo]]:
    """Return the configuration to pass to NeMo and the archive's files by name."""
    if os.environ.get(UNSAFE, "") not in SAFE_VALUES:
        raise InputError(f"{UNSAFE} is set, so the weights in {path} could run code; unset it")
    members: dict[str, tarfile.TarInfo] = {}
    config = b""
    for member in _members(path, archive):
        name = _name(path, member, members)
        if name == CONFIG:
            if member.size > LARGEST_CONFIG:
                raise InputError(f"{path}: {name} has {member.size} bytes, expected at most {LARGEST_CONFIG}")
            file = archive.extractfile(member)
            config = file.read() if file else b""
    if CONFIG not in members or WEIGHTS not in members:
        raise InputError(
            f"{path} holds {sorted(members)[:10]}, expected {CONFIG} and {WEIGHTS} (not a NeMo checkpoint?)"
        )
    return archive_config.read(f"{path}: {CONFIG}", config, {*members} - {*KNOWN}), members


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield members as far as they are few and small; a compressed archive is not read beyond the limit."""
    n_bytes = 0
    for number, member in enumerate(iter(archive.next, None), start=1):
        n_bytes += member.size
        if n_bytes > LARGEST or number > MOST_MEMBERS:
            raise InputError(f"{path} unpacks to more than {LARGEST >> 30} GiB or {MOST_MEMBERS} files (a bomb?)")
        yield member


def _name(path: Path, member: tarfile.TarInfo, members: dict[str, tarfile.TarInfo]) -> str:
    """Return a member's name without ``./``, and add it to the members."""
    parts = PurePosixPath(member.name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in member.name:
        raise InputError(f"{path} holds {member.name!r}, which leads out of its folder")
    if not (member.isdir() or member.isreg()) or member.issparse():
        kinds = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link"}
        kind = kinds.get(member.type, "a device, pipe or sparse file")
        raise InputError(f"{path} holds {member.name!r}, {kind}; expected plain files only")
    name = parts.as_posix()
    if member.isdir() and name == ".":
        return name
    if member.isdir() or not (name in KNOWN or TOKENIZER_FILE.fullmatch(name)):
        raise InputError(
            f"{path} holds {member.name!r}, which is no part of a Canary; expected {CONFIG}, {WEIGHTS} and files of"
            " tokenizers (.model, .vocab, .txt)"
        )
    if name in members:
        raise InputError(f"{path} holds {name!r} twice, so it is not clear which one counts")
    members[name] = member
    return name


def _tokenizer_files(config: dict[str, Any]) -> Iterator[str]:
    tokenizer = config["tokenizer"]
    for one in tokenizer.get("langs", {"": tokenizer}).values():
        yield from (one[key].removeprefix("nemo:") for key in archive_config.TOKENIZER_FILES if one[key] is not None)


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, out: Path) -> None:
    source = archive.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name} is no file")
    try:
        with source, out.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        error.filename = error.filename or str(out)  # where the disk is full
        raise
