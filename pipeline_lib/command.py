"""Start of every command, its progress bar, and its errors in one sentence."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from pipeline_lib import environment, interrupt
from pipeline_lib.errors import InputError

_STDERR = Console(stderr=True)
EXTRAS = {  # packages that the core does not install, and which extra of pyproject.toml does
    **dict.fromkeys(("accelerate", "dvc", "dvclive", "espeakng_loader", "matplotlib"), "pipeline"),
    **dict.fromkeys(("pyroomacoustics", "tensorboard", "vl_convert", "voluptuous"), "pipeline"),
    **dict.fromkeys(("nemo", "nemo_toolkit", "omegaconf"), "asr"),
    "bitsandbytes": "qlora",
    "opensmile": "egemaps",
    **dict.fromkeys(("ray", "submitit"), "cluster"),
    **dict.fromkeys(("onnxruntime", "silero_vad"), "predict"),
    "onnx": "onnx",
}


def run(main: Callable[..., None]) -> None:
    """Run ``main`` as a command of its own: a stage, a benchmark."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(guarded(main))
    start(app)


def start(app: typer.Typer) -> None:
    """Run an app whose commands are ``guarded``."""
    threading.excepthook = _thread_died
    app()


def guarded(main: Callable[..., None]) -> Callable[..., None]:
    """Return ``main`` as a command that starts only where the environment changes no result, and fails in a sentence.

    An InputError, a full disk or a package of an extra that is not installed is printed and the exit status 1, of
    Ctrl-C 130; any other error keeps its traceback.
    """

    @wraps(main)
    def command(*args: Any, **options: Any) -> None:
        try:
            interrupt.raise_again()
            environment.check()
            main(*args, **options)
        except KeyboardInterrupt:
            _interrupted()
        except Exception as error:
            if any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
                _interrupted()  # a library that was being imported made another error of it
            message = _message(error)
            if message is None:
                raise
            print(f"error: {message}", file=sys.stderr)
            sys.exit(1)

    return command


def _interrupted() -> NoReturn:
    print(interrupt.MESSAGE, file=sys.stderr)
    sys.exit(interrupt.STATUS)


def _message(error: Exception) -> str | None:
    """Return the sentence for an error that a user can fix, None for any other."""
    if isinstance(error, InputError):
        return str(error)
    path = full_disk(error)
    if path is not None:
        return f"the disk is full at {path}; free some space and run the same command"
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.partition(".")[0]
        if package in EXTRAS:
            return f"{package} is not installed; pip install 'speech-emotion-pipeline[{EXTRAS[package]}]'"
    return None


def _thread_died(died: threading.ExceptHookArgs) -> None:
    """Print a full disk in a line, as TensorBoard's writer meets it first; its next value ends the run."""
    path = full_disk(died.exc_value)
    if path is None:
        threading.__excepthook__(died)
    else:
        print(f"the disk is full at {path}", file=sys.stderr)


def end_with(parent: int, status: int = 1) -> None:
    """Let this process end within a second of its parent's end; a worker's first call.

    A worker of a pool whose parent was killed would otherwise wait for ever, for tasks or for its result to be taken.

    Args:
        parent: process id of the present parent
        status: exit status to end with
    """
    threading.Thread(target=_watch, args=(parent, status), daemon=True).start()


def _watch(parent: int, status: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(status)


def full_disk(error: BaseException | None) -> str | None:
    """Return the path where no space was left, or None where the error has another cause."""
    for cause in _causes(error):
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or f"[Errno {errno.ENOSPC}]" in str(cause):  # Arrow gives the number in its message only
            return str(getattr(cause, "filename", None) or Path.cwd())
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and, outwards to inwards, what it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
    """Show a bar on stderr with rate and time left, none where nothing is left; yields ``advance(n)``.

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
