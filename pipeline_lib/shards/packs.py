"""Packs: finished shards that are kept, by the keys of their rows, beyond the run that computed them.

A pack is a table with a column ``key``, a file named by the SHA-256 of its own bytes. It was a finished shard and got
this name by renaming, so that it is whole or absent. One whose bytes do not match its name is removed, with a message.
``items`` says what keys are, and what a folder of packs has in common.
"""

import errno
import shutil
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.shards import files, store
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import file_digest
from pipeline_lib.tables.origin import Origin, Origins

KEY = "key"  # the column
CACHE = "cache"  # the folder below work/
IN_MEMORY = 1 << 29  # bytes of packs in memory at once, or a single one


class Packs:
    """The packs of a folder, from which rows are read by key.

    Attributes:
        folder: of the cache
        positions: pack and row of each key
    """

    def __init__(self, folder: Path) -> None:
        """Verify every pack; remove the damaged ones, with a message.

        Args:
            folder: of the cache
        """
        self.folder = folder
        self.positions: dict[str, tuple[Path, int]] = {}
        self._read: OrderedDict[Path, pa.Table] = OrderedDict()
        self._used: dict[Path, None] = {}
        self._origins = Origins()
        paths = sorted(folder.glob("*.parquet"))
        damaged = [path for path in paths if not self.add(path)]
        for path in damaged:
            path.unlink()
        if damaged:
            print(
                f"{folder}: {len(damaged)} of {len(paths)} packs are damaged and were removed, {damaged[0].name} first;"
                " what they held is computed again",
                file=sys.stderr,
            )

    def add(self, path: Path) -> bool:
        """Take a pack in and return whether its bytes match its name."""
        if file_digest(path) != path.stem:
            return False
        for row, key in enumerate(pq.read_table(path, columns=[KEY]).column(KEY).to_pylist()):
            self.positions.setdefault(key, (path, row))
        return True

    def take(self, keys: Sequence[str]) -> pa.Table:
        """Return the rows of these keys, in their order.

        Args:
            keys: each in ``positions``

        Returns:
            all columns of the packs
        """
        rows_of: dict[Path, list[int]] = {}
        where = []  # of each key: pack, and position among the rows that are taken from it
        for path, row in (self.positions[key] for key in keys):
            rows = rows_of.setdefault(path, [])
            where.append((path, len(rows)))
            rows.append(row)
        starts = dict(zip(rows_of, np.cumsum([0, *map(len, rows_of.values())]).tolist()))
        parts = [self._table(path).take(rows) for path, rows in rows_of.items()]
        return pa.concat_tables(parts).take([starts[path] + position for path, position in where])

    @property
    def origin(self) -> Origin:
        """Devices and precisions of all packs that rows were taken from."""
        return self._origins.joined

    def touch(self) -> None:
        """Give the packs that rows were taken from the present time: those not in use go first."""
        for path in self._used:
            path.touch()

    def _table(self, path: Path) -> pa.Table:
        if path not in self._read:
            (table,) = self._origins.watch([files.read(path)])
            self._read[path] = table.replace_schema_metadata(None)
            self._used[path] = None
        self._read.move_to_end(path)
        while len(self._read) > 1 and sum(table.nbytes for table in self._read.values()) > IN_MEMORY:
            self._read.popitem(last=False)
        return self._read[path]


def keep(folder: Path, cache: Path) -> list[Path]:
    """Make packs of the finished shards of a folder, and return their paths.

    Args:
        folder: of the shards
        cache: folder of the packs, whose lock is held
    """
    kept = []
    for shard in sorted(folder.glob("shard_*.parquet")):
        digest = files.finished_digest(shard)
        if digest is None:
            print(f"{shard} has no matching checksum (interrupted, or damaged); computing it again", file=sys.stderr)
            continue
        pack = cache / f"{digest}.parquet"
        try:
            shard.replace(pack)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with shard.open("rb") as source, atomic.replace_file(pack) as target:  # the cache is on another disk
                shutil.copyfileobj(source, target)
        kept.append(pack)
    atomic.sync_folder(cache)
    return kept


def trim(work: Path, limit_gb: float) -> str:
    """Remove packs of all stages, the longest unused first, until the rest is within the limit; return what was done.

    Packs that a run reads are left, whatever the limit.

    Args:
        work: folder ``work/``
        limit_gb: 10^9 bytes; 0 removes all

    Returns:
        a sentence, "" where nothing was removed
    """
    stats = sorted((path.stat().st_mtime_ns, path, path.stat().st_size) for path in packs_in(work))
    surplus = sum(size for _, _, size in stats) - limit_gb * 1e9
    removed = freed = 0
    for _, path, size in stats:
        if surplus <= 0:
            break
        with store.locked_if_free(path.parent) as free:
            if free:
                path.unlink()
                surplus, freed, removed = surplus - size, freed + size, removed + 1
                if not any(path.parent.glob("*.parquet")):
                    store.discard(path.parent)
    if not removed:
        return ""
    left = sum(size for _, _, size in stats) - freed
    sizes = f"{freed / 1e6:.1f} MB, {left / 1e6:.1f} MB are left"
    return f"{work / CACHE}: {removed} of {len(stats)} packs removed, the longest unused first: {sizes}"


def packs_in(work: Path) -> list[Path]:
    """Return the packs of all stages.

    Args:
        work: folder ``work/``
    """
    return sorted((work / CACHE).glob("*/*/*.parquet"))


def print_trimmed(work: Path, limit_gb: float) -> None:
    """Trim the cache at the end of a stage, and print what was removed.

    Args:
        work: folder ``work/``
        limit_gb: 10^9 bytes; 0 removes all
    """
    if done := trim(work, limit_gb):
        print(f"{done} (cache.limit_gb of machine.yaml is {limit_gb:g})")
