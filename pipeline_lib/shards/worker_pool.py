"""The interface of every pool of workers."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline_lib.shards.job import Failure, Task

EventKind = Literal["ready", "done", "died"]


@dataclass(frozen=True)
class Event:
    """A change in a worker's state.

    Attributes:
        worker: its number
        kind: "ready", the model is loaded; "done", the task is finished; "died", the process has ended
        failure: the exception of a worker that is ready or done, None where there was none
        how: the way in which a worker died, for messages
    """

    worker: int
    kind: EventKind
    failure: Failure | None = None
    how: str = ""


class WorkerPool(AbstractContextManager, Protocol):
    """Workers, numbered in the order in which they are started; leaving the context ends them at once."""

    def start(self) -> int:
        """Start a worker, whose event "ready" comes later, and return its number."""
        ...

    def submit(self, worker: int, task: Task) -> None:
        """Send a task to an idle worker.

        Args:
            worker: its number
            task: the shard, or part of one
        """
        ...

    def poll(self) -> list[Event]:
        """Return the events since the last call, after a second at most."""
        ...
