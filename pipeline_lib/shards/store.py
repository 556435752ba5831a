"""Long work cut into shards by a fixed plan: what is finished stays finished, whenever the process dies.

A shard is the rows of one list of the plan. Its table is written to a temporary file, fsynced and linked into place, so
that the first writer wins; its sidecar with the SHA-256 comes last and says "finished". A shard without a matching
sidecar is computed again. A lock on the folder keeps two runs apart: the second waits, then goes on from what the first
left. The folder is ``work/<stage>/<fingerprint>/``; whoever calls gives every input that matters to ``fingerprint`` and
discards the folder once its own outputs are in place.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.command import progress
from pipeline_lib.errors import InputError

Plan = list[list[int]]


def by_length(durations: Sequence[float], shard_size: int, batch: int = 1) -> Plan:
    """Return a plan in which neighbours are of like length, longest first: what does not fit in memory fails at once.

    Args:
        durations: one an item, in any unit; equal ones keep their order, NaN comes last
        shard_size: rows a shard, rounded up to whole batches, so that no batch lies across two shards
        batch: rows a batch

    Returns:
        every row number once
    """
    if shard_size < 1 or batch < 1:
        raise ValueError(f"shard_size is {shard_size} and batch {batch}, wanted at least 1")
    order = np.argsort(-np.asarray(durations, dtype=np.float64), kind="stable").tolist()
    size = -(-shard_size // batch) * batch
    return [order[start : start + size] for start in range(0, len(order), size)]


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
        raise InputError(f"{path} does not exist, wanted a file or a folder")
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


def run_shards(
    folder: Path, plan: Plan, compute: Callable[[list[int]], pa.Table], description: str
) -> Iterator[pa.Table]:
    """Yield the plan's tables in order; shards that an earlier run finished are read, the others computed and kept.

    One table at a time is in memory, and each comes from disk: a resumed run yields what an uninterrupted one would.

    Args:
        folder: ``work/<stage>/<fingerprint>/``, made when missing
        plan: row numbers of each shard
        compute: the table of these rows; the same whenever it is called
        description: of the progress bar, whose unit is a row
    """
    with _locked(folder):
        for stale in folder.glob(".*.tmp"):
            stale.unlink()
        finished = [_is_finished(_shard(folder, number), rows) for number, rows in enumerate(plan)]
        if any(finished):
            print(f"{description}: {sum(finished)} of {len(plan)} shards were finished before", file=sys.stderr)
        done = sum(len(rows) for rows, ready in zip(plan, finished, strict=True) if ready)
        with progress(sum(map(len, plan)), description, done) as advance:
            for number, rows in enumerate(plan):
                path = _shard(folder, number)
                if not finished[number]:
                    _commit(path, compute(rows), rows)
                    advance(len(rows))
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    table = file.read()
                yield table


def discard(folder: Path) -> None:
    """Remove the folder and all its shards; nothing happens where there is none."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system frees when the process dies; wait for a run that has it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another run works on {folder}; waiting for it, then going on from its shards", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(lock.fileno()), (folder / ".lock").stat())
            except FileNotFoundError:
                same = False
            if same:  # else the other run finished and discarded the folder while this one waited
                yield
                return


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:05d}.parquet"


def _is_finished(path: Path, rows: list[int]) -> bool:
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


def _commit(path: Path, table: pa.Table, rows: list[int]) -> None:
    """Put the shard in place, then its sidecar; both are on the disk before the next begins."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # the first writer won; its shard is as good as this one and gets the seal
    except OSError:  # a file system without hard links
        temporary.replace(path)
    temporary.unlink(missing_ok=True)
    with temporary.open("wb") as file:
        file.write(_seal(path, rows))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path.with_suffix(".json"))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _seal(path: Path, rows: list[int]) -> bytes:
    """Return what the sidecar of this file holds."""
    return json.dumps({"sha256": file_digest(path), "rows": fingerprint(rows)}, sort_keys=True).encode()


def _digest_of(files: dict[str, Path]) -> str:
    """Return the SHA-256 over names and contents."""
    return hashlib.sha256(json.dumps({name: file_digest(files[name]) for name in sorted(files)}).encode()).hexdigest()
