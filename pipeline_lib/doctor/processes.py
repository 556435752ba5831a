"""Processes that run from the project's root, and orphans among them."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from pipeline_lib.doctor.result import Result

OURS = ("stages.", "pipeline_lib", "multiprocessing.spawn", "multiprocessing.forkserver", "multiprocessing.resource")
GRACE_S = 5.0  # between SIGTERM and SIGKILL


def running(root: Path, *programs: str) -> list[psutil.Process]:
    """Return the processes of these programs that run from ``root`` or below, except this one and its parents.

    Args:
        root: of the project
        programs: names of scripts (``dvc``) or of the packages of ``python -m`` (``stages``)
    """
    return [process for process in _here(root) if any(_is(process, program) for program in programs)]


def orphans(root: Path) -> list[psutil.Process]:
    """Return stages and workers below ``root`` whose parent has ended: a kill -9 of dvc or of the stage leaves them."""
    result = []
    for process in _here(root):
        try:
            words = process.cmdline()
            named = any(word.startswith(OURS) or OURS[2] in word for word in words)
            mine = named and "python" in process.name().lower()
            parent = process.parent()
            alone = parent is None or parent.pid == 1 or parent.name() in ("systemd", "init", "launchd")
            if mine and alone and process.terminal() is None and process.status() != psutil.STATUS_ZOMBIE:
                result.append(process)
        except psutil.Error:
            continue
    return result


def processes(root: Path, end: bool = False) -> Iterator[Result]:
    """Yield the result for orphans.

    Args:
        root: of the project
        end: whether ending them is the fix
    """
    left = orphans(root)
    if not left:
        yield Result("orphans", "ok", "no process of an earlier run")
        return
    message = "; ".join(f"{process.pid} {_words(process)}" for process in left)
    remedy = f"kill {' '.join(str(process.pid) for process in left)}, or --fix --end-orphans"
    yield Result("orphans", "warning", message, remedy, (lambda: _end(left)) if end else None)


def _here(root: Path) -> Iterator[psutil.Process]:
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    root = root.resolve()
    for process in psutil.process_iter():
        try:
            if process.pid not in own and Path(process.cwd()).is_relative_to(root):
                yield process
        except (psutil.Error, OSError):
            continue


def _is(process: psutil.Process, program: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    named = any(Path(word).name == program for word in words[:2])  # dvc, or python .../bin/dvc
    module = words[words.index("-m") + 1 :][:1] if "-m" in words else []
    return named or any(name.partition(".")[0] == program for name in module)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(Path(word).name if number == 0 else word for number, word in enumerate(process.cmdline()))[:80]
    except psutil.Error:
        return "(ended)"


def _end(processes: list[psutil.Process]) -> str:
    """End these processes by SIGTERM, then SIGKILL; psutil recognises a reused process id by its start time."""
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=GRACE_S)
    return f"ended {', '.join(str(process.pid) for process in processes)}"
