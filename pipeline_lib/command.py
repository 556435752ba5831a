"""How every command of the project starts, shows its progress and fails."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipeline_lib import environment, interrupt
from pipeline_lib.errors import InputError

_STDERR = Console(stderr=True)


def run(main: Callable[..., None]) -> None:
    """Run ``main`` as a typer command, where the environment changes no result.

    An InputError or a full disk is printed and the exit status 1, of Ctrl-C 130.
    """

    @wraps(main)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            interrupt.raise_again()
            environment.check()
            main(*args, **options)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception as error:
            place = full_disk(error)
            if place is None:
                raise
            print(f"error: the disk is full at {place}; free some space and run the same command", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print(interrupt.MESSAGE, file=sys.stderr)
            sys.exit(interrupt.STATUS)

    threading.excepthook = _thread_died
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded)
    app()


def _thread_died(died: threading.ExceptHookArgs) -> None:
    """Say a full disk in a line, as TensorBoard's writer meets it first; its next value ends the run."""
    place = full_disk(died.exc_value)
    if place is None:
        threading.__excepthook__(died)
    else:
        print(f"the disk is full at {place}", file=sys.stderr)


def end_with(parent: int, status: int = 1) -> None:
    """Let this process end, within a second, once it has another parent: a worker's first call.

    A worker of a pool whose parent was killed else waits for ever, for tasks or for somebody to take its result.
    """
    threading.Thread(target=_watch, args=(parent, status), daemon=True).start()


def _watch(parent: int, status: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(status)


def full_disk(error: BaseException | None) -> str | None:
    """Return where there was no space left, or None where that is not what went wrong."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or f"[Errno {errno.ENOSPC}]" in str(error):  # Arrow says the number in words only
            return str(getattr(error, "filename", None) or Path.cwd())
        error = error.__cause__ or error.__context__
    return None


class _Rate(ProgressColumn):
    """Units a second since the bar began."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s", style="progress.data.speed")


class _TimeLeft(TimeRemainingColumn):
    """Time left, once it can be estimated."""

    def render(self, task: Task) -> Text:
        return Text("") if task.time_remaining is None else super().render(task)


@contextmanager
def progress(total: int, description: str, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show one bar on stderr with rate and time left, none where nothing is left; yields ``advance(n)``.

    Args:
        total: units in all
        description: what is counted, "transcribing" for example
        done: units that an earlier run finished
    """
    if done >= total:
        yield lambda n: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), _TimeLeft())
    with Progress(*columns, console=_STDERR) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda n: bar.advance(task, n)
