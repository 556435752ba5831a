"""What travels to a worker: a job, the tasks that it is cut into, and what comes back."""

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pipeline_lib import environment
from pipeline_lib.errors import InputError
from pipeline_lib.shards import files

OUTDATED = 75  # exit status of a worker whose run was taken over or has lost its driver


class Job(Protocol):
    """A dataclass of paths and settings, which can be pickled; a model is no part of it.

    Attributes:
        ids: what a row of the plan is called in messages
        device: auto, cpu, cuda or mps; GPUs are shared out where it may be a GPU
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def device(self) -> str: ...

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the model, once a worker, and return what computes the table of some rows."""
        ...


@dataclass(frozen=True)
class Task:
    """A shard to compute and commit; or a part of one, computed only to see whether it kills its worker.

    Attributes:
        number: of the shard
        rows: its rows, or those of the part
        whole: False for a part, whose table is thrown away: its batches would not be those of the plan
    """

    number: int
    rows: list[int]
    whole: bool = True


@dataclass(frozen=True)
class Order:
    """What a worker is started with.

    Attributes:
        folder: of the shards, absolute
        token: of this run
        job: what to do
    """

    folder: Path
    token: str
    job: Job | None


@dataclass(frozen=True)
class Failure:
    """An exception of a worker.

    Attributes:
        said: its message, or for what is no user's mistake its traceback
        mistake: whether it was an InputError
    """

    said: str
    mistake: bool

    def error(self) -> Exception:
        """Return it as the driver raises it."""
        return InputError(self.said) if self.mistake else RuntimeError(f"a worker failed:\n{self.said}")


class Worker:
    """Does tasks; its process does nothing else."""

    def __init__(self) -> None:
        """Have nothing to do yet; ``start`` gives it."""
        self._order: Order | None = None
        self._compute: Callable[[list[int]], pa.Table] | None = None

    def start(self, order: Order) -> Failure | None:
        """Load the model; return what went wrong."""
        self._order = order
        return self._guarded(lambda: self._load(order))

    def do(self, task: Task) -> Failure | None:
        """Compute, and commit where the task is whole; return what went wrong."""
        return self._guarded(lambda: self._do(task))

    def _load(self, order: Order) -> None:
        assert order.job is not None
        environment.check()  # on another machine it may be another
        files.check_shared(order.folder, order.token)
        self._compute = order.job.start()

    def _do(self, task: Task) -> None:
        assert self._order is not None and self._compute is not None
        table = self._compute(task.rows)
        if task.whole:
            files.commit(files.place(self._order.folder, task.number), table, task.rows, self._order.token)

    @staticmethod
    def _guarded(act: Callable[[], None]) -> Failure | None:
        try:
            act()
        except files.Superseded:
            os._exit(OUTDATED)
        except InputError as error:
            return Failure(str(error), mistake=True)
        except Exception:  # noqa: BLE001 - it is raised again by the driver
            return Failure(traceback.format_exc(), mistake=False)
        return None
