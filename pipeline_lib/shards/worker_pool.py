"""What every kind of worker looks like to those who share tasks out."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline_lib.shards.job import Failure, Task


@dataclass(frozen=True)
class Event:
    """Something that a worker did.

    Attributes:
        worker: its number
        kind: it has loaded its model; is through with its task; or is no more
        failure: the exception that it met there
        how: it died
    """

    worker: int
    kind: Literal["ready", "done", "died"]
    failure: Failure | None = None
    how: str = ""


class WorkerPool(AbstractContextManager, Protocol):
    """Workers, numbered as they are started; leaving the context ends them at once."""

    def start(self) -> int:
        """Start a worker, who says "ready" later, and return its number."""
        ...

    def submit(self, worker: int, task: Task) -> None:
        """Let a worker who has nothing to do begin a task."""
        ...

    def poll(self) -> list[Event]:
        """Return what happened, after a second at most."""
        ...
