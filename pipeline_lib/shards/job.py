"""The job of a worker, the tasks that it is cut into, and the failure that comes back."""

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from pipeline_lib import environment, telemetry
from pipeline_lib.errors import InputError
from pipeline_lib.shards import files

OUTDATED = 75  # exit status of a worker whose run was taken over or has lost its driver


class Job(Protocol):
    """A dataclass of paths and settings, which can be pickled; a model is no part of it.

    Attributes:
        ids: names of the plan's rows in messages
        device: auto, cpu, cuda or mps; GPUs are distributed among workers where it may be a GPU
    """

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def device(self) -> str: ...

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the model, once a worker, and return the function that computes the table of some rows."""
        ...


@dataclass(frozen=True)
class Task:
    """A shard to compute and commit; or a part of one, computed only to see whether it kills its worker.

    Attributes:
        number: of the shard
        rows: its rows, or those of the part
        whole: False for a part, whose table is dropped: its batches would not be those of the plan
    """

    number: int
    rows: list[int]
    whole: bool = True


@dataclass(frozen=True)
class Order:
    """Folder, token and job that a worker is started with.

    Attributes:
        folder: of the shards, absolute
        token: of this run
        job: the computation; None where the driver computes
    """

    folder: Path
    token: str
    job: Job | None


@dataclass(frozen=True)
class Failure:
    """An exception of a worker.

    Attributes:
        message: of an InputError; of any other exception its traceback
        is_input_error: whether it was an InputError
    """

    message: str
    is_input_error: bool

    def error(self) -> Exception:
        """Return the exception that the driver raises."""
        return InputError(self.message) if self.is_input_error else RuntimeError(f"a worker failed:\n{self.message}")


class Worker:
    """The part of a worker that loads the model and computes tasks, one a process."""

    def __init__(self) -> None:
        """Hold no job yet; ``start`` loads it."""
        self._order: Order | None = None
        self._compute: Callable[[list[int]], pa.Table] | None = None

    def start(self, order: Order) -> Failure | None:
        """Load the model; return the failure, None where there was none."""
        self._order = order
        return self._guarded(lambda: self._load(order))

    def do(self, task: Task) -> Failure | None:
        """Compute a task, and commit it where it is whole; return the failure, None where there was none."""
        return self._guarded(lambda: self._do(task))

    def _load(self, order: Order) -> None:
        assert order.job is not None
        telemetry.off()
        environment.check()  # another machine may have other libraries
        files.check_shared(order.folder, order.token)
        self._compute = order.job.start()

    def _do(self, task: Task) -> None:
        assert self._order is not None and self._compute is not None
        table = self._compute(task.rows)
        if task.whole:
            files.commit(files.shard_path(self._order.folder, task.number), table, task.rows, self._order.token)

    @staticmethod
    def _guarded(action: Callable[[], None]) -> Failure | None:
        try:
            action()
        except files.Superseded:
            os._exit(OUTDATED)
        except InputError as error:
            return Failure(str(error), is_input_error=True)
        except Exception:  # noqa: BLE001 - it is raised again by the driver
            return Failure(traceback.format_exc(), is_input_error=False)
        return None
