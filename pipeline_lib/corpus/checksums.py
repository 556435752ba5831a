"""``ser checksums ROOT`` writes ROOT/SHA256SUMS; the corpus stage then verifies every file.

The format is that of ``sha256sum``, which can check it too: ``cd ROOT && sha256sum --check --quiet SHA256SUMS``. Named
are recordings and what the readers take labels from, sorted, hidden files left out. A recording whose bytes changed
since, or that is not named, goes to the quarantine; a changed or missing label file stops the stage.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline_lib.audio.decoding import resolve_under
from pipeline_lib.command import progress
from pipeline_lib.corpus.layout import AUDIO_SUFFIXES, files
from pipeline_lib.errors import InputError

SUMS = "SHA256SUMS"
WRITE_AGAIN = "where the corpus is as it should be: ser checksums ROOT"
LABEL_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".parquet")
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")  # a backslash in front: newlines and backslashes are escaped


def write(root: Path) -> int:
    """Write the checksums of all recordings and label files; return their number.

    Raises:
        InputError: no such folder, nothing in it, or a file that cannot be read
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder, expected the corpus's root")
    paths = [path for path in files(root, (*AUDIO_SUFFIXES, *LABEL_SUFFIXES)) if (root / path).is_file()]
    if not paths:
        raise InputError(f"{root} holds no recording and no label file")
    lines = []
    with progress(len(paths), "hashing") as advance:
        for path in paths:
            lines.append(_line(path, _digest(root / path)))
            advance(1)
    temporary = root / f".{SUMS}.{os.getpid()}.tmp"
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(root / SUMS)
    return len(paths)


def read(root: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each path that SHA256SUMS names, None where there is no such file.

    Raises:
        InputError: it is not UTF-8, or a line is no checksum
    """
    path = root / SUMS
    if not path.is_file():
        return None
    sums = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: {line[:80]!r} is no line of sha256sum (cut short, or edited?)")
        escaped, digest, name = match.groups()
        name = re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), name) if escaped else name
        sums[PurePosixPath(name).as_posix()] = digest
    return sums


def check_labels(root: Path, sums: Mapping[str, str]) -> None:
    """Refuse a corpus whose label files are not those that the checksums were made from.

    Args:
        root: folder of the corpus
        sums: path below the root -> SHA-256

    Raises:
        InputError: one is missing, has changed, or lies outside the root
    """
    for name, digest in sums.items():
        if not name.lower().endswith(LABEL_SUFFIXES):
            continue
        path = resolve_under(root, name)
        if not path.is_file():
            raise InputError(f"{path} is missing and {SUMS} names it; {WRITE_AGAIN}")
        if _digest(path) != digest:
            raise InputError(f"{path} is not the file that {SUMS} was made from (damaged, or edited?); {WRITE_AGAIN}")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _line(path: PurePosixPath, digest: str) -> str:
    name = str(path)
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"
