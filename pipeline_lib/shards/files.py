"""A shard on disk: its table, its seal, and the token that says whose run may put it there.

A table is written to a temporary file, fsynced and linked into place, so that the first writer wins; its sidecar with
the SHA-256 comes last and says "finished".

Every run that takes a folder over raises the run number in ``.token``. Right before it links, a worker compares the
token with the one it was given; a worker of an earlier run, whose driver was killed, finds another and ends. A worker
that is overtaken between the look and the link still commits: that is harmless, since a shard's content follows from
the folder's fingerprint and the plan, whoever computed it, and the first of two equal files stays.
"""

import json
import os
import secrets
import socket
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.errors import InputError
from pipeline_lib.storage.fingerprint import file_digest, fingerprint

TOKEN = ".token"


class Superseded(InputError):
    """A later run has taken the folder over, or discarded it."""


def place(folder: Path, number: int) -> Path:
    """Return where the shard of that number lies."""
    return folder / f"shard_{number:05d}.parquet"


def is_finished(path: Path, rows: list[int]) -> bool:
    """Return whether the shard is whole and of these rows; what is left of one that is not is removed."""
    sidecar = path.with_suffix(".json")
    if not path.exists() and not sidecar.exists():
        return False
    if not path.exists():
        flaw = "is missing"
    elif not sidecar.exists():
        flaw = "has no checksum (the run was interrupted there)"
    elif sidecar.read_bytes() != _seal(path, rows):
        flaw = "does not match its checksum (it was damaged, or belongs to another plan)"
    else:
        return True
    print(f"{path} {flaw}; computing it again", file=sys.stderr)
    sidecar.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return False


def commit(path: Path, table: pa.Table, rows: list[int], token: str) -> None:
    """Put the shard in place, then its sidecar; both are on the disk before the next begins.

    Raises:
        Superseded: the token is no longer the folder's
    """
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    try:
        check_token(path.parent, token)
        os.link(temporary, path)
    except FileExistsError:
        pass  # the first writer won; its shard is as good as this one and gets the seal
    except FileNotFoundError:
        raise Superseded(f"{temporary} was removed") from None
    except OSError:  # a file system without hard links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    write_whole(path.with_suffix(".json"), _seal(path, rows))


def read(path: Path) -> pa.Table:
    """Return a finished shard's table; every page's checksum is compared."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def raise_token(folder: Path) -> str:
    """Begin a run: return a token that no earlier run of the folder had, in place before anything is computed."""
    path = folder / TOKEN
    before = path.read_text(encoding="utf-8", errors="replace").split() if path.exists() else []
    number = int(before[0]) + 1 if before and before[0].isdecimal() else 1
    token = f"{number} {secrets.token_hex(8)}"  # a folder that was discarded counts from 1 again
    write_whole(path, token.encode())
    return token


def check_token(folder: Path, token: str) -> None:
    """Return where the token is the folder's.

    Raises:
        Superseded: it is not
    """
    try:
        found = (folder / TOKEN).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise Superseded(f"{folder} was discarded") from None
    if found != token:
        raise Superseded(f"run {found.split()[0]} has taken {folder} over from run {token.split()[0]}")


def check_shared(folder: Path, token: str) -> None:
    """Return where this machine sees the folder that the driver works in.

    Raises:
        InputError: it does not
        Superseded: it does, and another run has it
    """
    if not (folder / TOKEN).exists():
        raise InputError(
            f"a worker on {socket.gethostname()} does not see {folder}, in which the run keeps its shards; the project"
            " and the corpus must lie on a file system that all machines share, under the same path"
        )
    check_token(folder, token)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file through a temporary one; both the file and its name are on the disk afterwards."""
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _temporary(path: Path) -> Path:
    """Return a name that no other process of any machine writes to."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


def _seal(path: Path, rows: list[int]) -> bytes:
    """Return what the sidecar of this file holds."""
    return json.dumps({"sha256": file_digest(path), "rows": fingerprint(rows)}, sort_keys=True).encode()
