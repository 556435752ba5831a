"""A shard on disk: its table, the sidecar with its checksum, and the token of the run that may commit it.

A table is written to a temporary file, synced and linked into place, so that the first writer wins; its sidecar with
the SHA-256 comes last and marks the shard as finished.

Every run that takes a folder over raises the run number in ``.token``. Right before it links, a worker compares the
token with its own; a worker of an earlier run, whose driver was killed, sees another and ends. A worker that is
overtaken between comparison and link still commits: that is harmless, since a shard's content follows from the
folder's fingerprint and the plan, whoever computed it, and the first of two equal files stays.
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
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import file_digest, fingerprint

TOKEN = ".token"


class Superseded(InputError):
    """A later run has taken the folder over, or discarded it."""


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of a shard's table.

    Args:
        folder: of the shards
        number: of the shard, from 0
    """
    return folder / f"shard_{number:05d}.parquet"


def is_finished(path: Path, rows: list[int]) -> bool:
    """Return whether the shard matches its checksum and holds these rows; remains of one that does not are removed.

    Args:
        path: of the shard's table
        rows: row numbers that the plan gives it
    """
    sidecar = path.with_suffix(".json")
    if not path.exists() and not sidecar.exists():
        return False
    if not path.exists():
        defect = "is missing"
    elif not sidecar.exists():
        defect = "has no checksum (the run was interrupted there)"
    elif sidecar.read_bytes() != _checksum(path, rows):
        defect = "does not match its checksum (it was damaged, or belongs to another plan)"
    else:
        return True
    print(f"{path} {defect}; computing it again", file=sys.stderr)
    sidecar.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    return False


def finished_digest(path: Path) -> str | None:
    """Return the SHA-256 of a shard that matches its sidecar, None where it does not.

    Args:
        path: of the shard's table
    """
    try:
        recorded = json.loads(path.with_suffix(".json").read_bytes())
        digest = file_digest(path)
    except (OSError, ValueError, InputError):
        return None
    return digest if isinstance(recorded, dict) and recorded.get("sha256") == digest else None


def commit(path: Path, table: pa.Table, rows: list[int], token: str) -> None:
    """Write the shard, then its sidecar; both are on the disk afterwards.

    Args:
        path: of the shard's table
        table: of the rows, in their order
        rows: row numbers
        token: of the run that the worker was started by

    Raises:
        Superseded: the token is no longer the folder's
    """
    temporary = atomic.temporary_path(path)
    with atomic.synced_file(temporary) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
    try:
        check_token(path.parent, token)
        os.link(temporary, path)
    except FileExistsError:
        pass  # the first writer won; its shard equals this one and gets the checksum
    except FileNotFoundError:
        raise Superseded(f"{temporary} was removed") from None
    except OSError:  # a file system without hard links
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    write(path.with_suffix(".json"), _checksum(path, rows))


def read(path: Path) -> pa.Table:
    """Return a finished shard's table; the checksum of every page is compared."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def raise_token(folder: Path) -> str:
    """Write and return a token that no earlier run of the folder had; a run begins with it."""
    path = folder / TOKEN
    before = path.read_text(encoding="utf-8", errors="replace").split() if path.exists() else []
    number = int(before[0]) + 1 if before and before[0].isdecimal() else 1
    token = f"{number} {secrets.token_hex(8)}"  # a folder that was discarded counts from 1 again
    write(path, token.encode())
    return token


def check_token(folder: Path, token: str) -> None:
    """Refuse to go on where another run has the folder.

    Args:
        folder: of the shards
        token: of the run that the worker was started by

    Raises:
        Superseded: the folder has another token, or was discarded
    """
    try:
        present = (folder / TOKEN).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise Superseded(f"{folder} was discarded") from None
    if present != token:
        raise Superseded(f"run {present.split()[0]} has taken {folder} over from run {token.split()[0]}")


def check_shared(folder: Path, token: str) -> None:
    """Refuse a machine that does not see the folder that the driver works in.

    Args:
        folder: of the shards
        token: of the run that the worker was started by

    Raises:
        InputError: there is no such folder on this machine
        Superseded: another run has the folder
    """
    if not (folder / TOKEN).exists():
        raise InputError(
            f"a worker on {socket.gethostname()} does not see {folder}, in which the run keeps its shards; the project"
            " and the corpus must lie on a file system that all machines share, under the same path"
        )
    check_token(folder, token)


def write(path: Path, content: bytes) -> None:
    """Write a file of a folder of shards atomically.

    The folder is not made: a worker whose folder was discarded must not bring it back. Leftovers are cleared when a run
    begins, not for every file among thousands.

    Args:
        path: token, sidecar or heartbeat
        content: of the file
    """
    atomic.write_file(path, content, prepare=False)


def _checksum(path: Path, rows: list[int]) -> bytes:
    """Return the content of the sidecar: SHA-256 of the table, and the fingerprint of its rows."""
    return json.dumps({"sha256": file_digest(path), "rows": fingerprint(rows)}, sort_keys=True).encode()
