"""Jobs that need no model: squares of row numbers, with rows that kill, hang or fail."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from pipeline_lib.errors import InputError

N = 40
PLAN = [list(range(start, min(start + 4, N))) for start in range(0, N, 4)]
IDS = [f"u{row:02d}" for row in range(N)]


@dataclass(frozen=True)
class Squares:
    """Squares row numbers, and notes in a folder who computed what.

    Attributes:
        notes: a file a worker and shard is left there
        pause_s: that a shard takes
        deadly: rows at which the worker kills itself, always
        fragile: shards, by first row, at which it kills itself the first time
        wrong: rows that are refused
        heavy: more rows at once than this kill
    """

    notes: str
    pause_s: float = 0.0
    deadly: tuple[int, ...] = ()
    fragile: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()
    heavy: int = N
    unloadable: bool = False
    ids: list[str] = field(default_factory=lambda: list(IDS))
    device: str = "cpu"

    def start(self):
        if self.unloadable:
            os.kill(os.getpid(), signal.SIGKILL)
        Path(self.notes).mkdir(parents=True, exist_ok=True)
        return self.compute

    def compute(self, rows: list[int]) -> pa.Table:
        note = Path(self.notes) / f"{'_'.join(map(str, rows))}.{os.getpid()}.{time.monotonic_ns()}"
        note.write_text("began")
        first = not list(Path(self.notes).glob(f"fragile_{rows[0]}"))
        if first and rows[0] in self.fragile:
            (Path(self.notes) / f"fragile_{rows[0]}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if set(rows) & set(self.deadly) or len(rows) > self.heavy:
            os.kill(os.getpid(), signal.SIGKILL)
        if wrong := sorted(set(rows) & set(self.wrong)):
            raise InputError(f"row {wrong[0]} is wrong")
        if set(rows) & set(self.broken):
            raise ZeroDivisionError("division by a broken row")
        time.sleep(self.pause_s)
        return pa.table({"row": rows, "square": [row * row for row in rows]})


def asked(notes: Path) -> list[list[int]]:
    """Return the lists of rows that were begun, sorted."""
    found = [path.name.split(".")[0] for path in notes.iterdir() if not path.name.startswith("fragile")]
    return sorted([int(row) for row in name.split("_")] for name in found)


def pids(notes: Path) -> set[int]:
    """Return the processes that computed."""
    return {int(path.name.split(".")[1]) for path in notes.iterdir() if "." in path.name}
