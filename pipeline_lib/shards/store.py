"""Long work cut into shards by a fixed plan: finished shards stay finished, whenever a process dies.

A shard is the rows of one list of the plan; ``files`` has its format on disk. A shard without a matching sidecar is
computed again. A lock on the folder keeps two runs apart: the second waits, then continues from the shards of the
first. The folder is ``work/<stage>/<fingerprint>/``; the caller passes every input that matters to ``fingerprint`` and
discards the folder once its own outputs are in place.

Shards are computed in this process, or by workers (``execute``) that commit them themselves. The plan is independent of
the workers, so that all commit the same bytes; the driver alone puts the tables together.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline_lib.command import progress
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import files
from pipeline_lib.shards.execute import execute
from pipeline_lib.shards.job import Job, Order, Task

Plan = list[list[int]]
IN_PROCESS = ExecutorSettings()


def by_length(durations: Sequence[float], shard_size: int, batch: int = 1) -> Plan:
    """Return a plan sorted by length, longest first: items that do not fit in memory fail at once.

    Args:
        durations: one an item, in any unit; equal ones keep their order, NaN comes last
        shard_size: rows a shard, at least 1; rounded up to whole batches, so that no batch lies across two shards
        batch: rows a batch, at least 1

    Returns:
        every row number once

    Raises:
        ValueError: ``shard_size`` or ``batch`` is below 1
    """
    if shard_size < 1 or batch < 1:
        raise ValueError(f"shard_size is {shard_size} and batch {batch}, expected at least 1")
    order = np.argsort(-np.asarray(durations, dtype=np.float64), kind="stable").tolist()
    size = -(-shard_size // batch) * batch
    return [order[start : start + size] for start in range(0, len(order), size)]


def run_shards(
    folder: Path,
    plan: Plan,
    compute: Callable[[list[int]], pa.Table] | None,
    description: str,
    *,
    job: Job | None = None,
    executor: ExecutorSettings = IN_PROCESS,
) -> Iterator[pa.Table]:
    """Yield the plan's tables in order; shards that an earlier run finished are read, the others computed and stored.

    One table at a time is in memory, and each comes from disk: a resumed run yields the tables of an uninterrupted one.

    Args:
        folder: ``work/<stage>/<fingerprint>/``, made when missing
        plan: row numbers of each shard
        compute: returns the table of some rows, the same at every call; None where workers compute
        description: of the progress bar, whose unit is a row
        job: the same for workers, which start it for themselves; None where ``executor`` has none
        executor: kind and number of the workers

    Raises:
        InputError: an utterance kills every worker that computes it; all other shards are finished then
    """
    numbers = finish(folder, plan, compute, description, job=job, executor=executor)
    finished: set[int] = set()
    with closing(numbers):
        for number in range(len(plan)):
            while number not in finished:
                finished.add(next(numbers))
            yield files.read(files.shard_path(folder, number))


def finish(
    folder: Path,
    plan: Plan,
    compute: Callable[[list[int]], pa.Table] | None,
    description: str,
    *,
    job: Job | None = None,
    executor: ExecutorSettings = IN_PROCESS,
    done: int = 0,
) -> Generator[int, None, None]:
    """Yield the number of each shard once it is finished, in any order; those of an earlier run come first.

    Args:
        folder: see ``run_shards``
        plan: row numbers of each shard
        compute: see ``run_shards``
        description: of the progress bar, whose unit is a row
        job: see ``run_shards``
        executor: kind and number of the workers
        done: rows that are no part of the plan, since they are finished already; the bar counts them

    Raises:
        InputError: an utterance kills every worker that computes it; all other shards are finished then
    """
    with locked(folder):
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        token = files.raise_token(folder)
        finished = [n for n, rows in enumerate(plan) if files.is_finished(files.shard_path(folder, n), rows)]
        if finished:
            print(f"{description}: {len(finished)} of {len(plan)} shards taken from an earlier run", file=sys.stderr)
        tasks = [Task(number, plan[number]) for number in sorted({*range(len(plan))} - {*finished})]
        if executor.workers == 0:
            computed: Generator[int, None, None] = _compute_here(folder, tasks, compute, token)
        else:
            computed = execute(executor, Order(folder.absolute(), token, job), tasks, description)
        total, before = done + sum(map(len, plan)), done + sum(len(plan[number]) for number in finished)
        with closing(computed), progress(total, description, before) as advance:  # closing ends the workers
            yield from finished
            for number in computed:
                advance(len(plan[number]))
                yield number


def discard(folder: Path) -> None:
    """Remove the folder and all its shards; nothing happens where there is none."""
    if folder.exists():
        shutil.rmtree(folder)


def _compute_here(
    folder: Path, tasks: list[Task], compute: Callable[[list[int]], pa.Table] | None, token: str
) -> Generator[int, None, None]:
    """Compute the shards one after the other in this process, and yield their numbers."""
    if compute is None:
        raise ValueError("compute is None and the executor has no workers")
    for task in tasks:
        files.commit(files.shard_path(folder, task.number), compute(task.rows), task.rows, token)
        yield task.number


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system frees when the process dies; wait for a run that has it.

    Args:
        folder: made where there is none, and again where the other run discarded it
    """
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


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock where no run has it; yield whether it is held."""
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
