"""Values that a model gives for single items (recordings, texts), kept beyond the run: one item more costs one item.

An item is known by its key, the SHA-256 of what identifies its content. Packs (``packs``) hold the values, in
``work/cache/<stage>/<fingerprint>/``; the caller passes to ``fingerprint`` all that values depend on but the items
themselves: encoder, settings, code, versions, kind of device. Items without a pack are computed in shards as ever
(``store``, ``execute``), which then become packs; those that a killed run finished do so when the next one begins.
"""

import hashlib
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import packs, store
from pipeline_lib.shards.job import Job
from pipeline_lib.shards.packs import CACHE, KEY, Packs
from pipeline_lib.storage.fingerprint import fingerprint


def keys_of(contents: Sequence[Any]) -> list[str]:
    """Return the key of each item, 64 hexadecimal digits; equal contents have equal keys.

    Args:
        contents: what identifies each item, as JSON can hold it
    """
    texts = (json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")) for content in contents)
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]


@dataclass(frozen=True)
class KeyedJob:
    """A job whose tables have keys in place of row numbers.

    Attributes:
        job: the computation; its tables have a column ``row``
        keys: of each row
    """

    job: Job
    keys: Mapping[int, str]

    @property
    def ids(self) -> Sequence[str]:
        """Names of the rows in messages."""
        return self.job.ids

    @property
    def device(self) -> str:
        """Device of the job."""
        return self.job.device

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the model and return the function that computes the table of some rows."""
        return _keyed(self.job.start(), self.keys)


def _keyed(compute: Callable[[list[int]], pa.Table], keys: Mapping[int, str]) -> Callable[[list[int]], pa.Table]:
    """Return a function whose tables have keys in place of row numbers."""

    def keyed(rows: list[int]) -> pa.Table:
        table = compute(rows)
        column = pa.array([keys[row] for row in table.column("row").to_pylist()], pa.string())
        return table.drop_columns(["row"]).add_column(0, KEY, column)

    return keyed


@contextmanager
def computed(
    work: Path,
    stage: str,
    dependencies: str,
    keys: Mapping[int, str],
    plan: Callable[[list[int]], store.Plan],
    compute: Callable[[list[int]], pa.Table] | None,
    description: str,
    *,
    job: Job | None = None,
    executor: ExecutorSettings = store.IN_PROCESS,
) -> Iterator[Packs]:
    """Compute what no pack holds and yield the packs, which no other run changes meanwhile.

    Args:
        work: folder ``work/``
        stage: its name
        dependencies: fingerprint of all that values depend on but the items
        keys: of each row; rows of one key are computed once
        plan: row numbers, each of another key, to their shards
        compute: returns the table of some rows, the same at every call, with a column ``row``; None where workers
            compute
        description: of the progress bar
        job: the same for workers; None where ``executor`` has none
        executor: kind and number of the workers

    Raises:
        InputError: an item kills every worker that computes it; all other shards are finished then
    """
    cache, unfinished = work / CACHE / stage / dependencies, work / stage / dependencies
    with store.locked(cache):
        for leftover in cache.glob(".*.tmp"):
            leftover.unlink()
        for folder in sorted(unfinished.glob("*/")):
            packs.keep(folder, cache)
        store.discard(unfinished)
        cached = Packs(cache)
        missing: dict[str, int] = {}
        for row, key in keys.items():
            if key not in cached.positions:
                missing.setdefault(key, row)
        n_items = len(set(keys.values()))
        n_cached = n_items - len(missing)
        _print_cached(description, n_cached, n_items, len(keys))
        if missing:
            shards = plan(list(missing.values()))
            folder = unfinished / fingerprint([[keys[row] for row in rows] for rows in shards])
            keyed = None if compute is None else _keyed(compute, keys)
            of_workers = None if job is None else KeyedJob(job, keys)
            finished = store.finish(
                folder, shards, keyed, description, job=of_workers, executor=executor, done=n_cached
            )
            deque(finished, maxlen=0)
            for path in packs.keep(folder, cache):
                cached.add(path)
            store.discard(unfinished)
        yield cached
        cached.touch()


def _print_cached(description: str, n_cached: int, n_items: int, n_rows: int) -> None:
    copies = f" ({n_rows - n_items} more are copies of others)" if n_items < n_rows else ""
    if n_cached or copies:
        print(f"{description}: {n_cached} of {n_items} cached{copies}", file=sys.stderr)
