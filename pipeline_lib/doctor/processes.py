"""This project's processes: those that run from its root, and those of them that nobody waits for."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from pipeline_lib.doctor.result import Result

OURS = ("stages.", "pipeline_lib", "multiprocessing.spawn", "multiprocessing.forkserver", "multiprocessing.resource")
PATIENCE_S = 5.0  # between the polite signal and the other


def running(root: Path, *programs: str) -> list[psutil.Process]:
    """Return the processes of these programs that run from ``root`` or below, but for this one and its parents."""
    return [each for each in _here(root) if any(_is(each, program) for program in programs)]


def orphans(root: Path) -> list[psutil.Process]:
    """Return stages and workers whose parent is gone: a kill -9 of dvc or of the stage leaves them at work."""
    found = []
    for each in _here(root):
        try:
            words = each.cmdline()
            mine = any(word.startswith(OURS) or OURS[2] in word for word in words) and "python" in each.name().lower()
            parent = each.parent()
            alone = parent is None or parent.pid == 1 or parent.name() in ("systemd", "init", "launchd")
            if mine and alone and each.terminal() is None and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found


def processes(root: Path, end: bool = False) -> Iterator[Result]:
    """Report orphans; ``end`` makes ending them part of mending."""
    found = orphans(root)
    if not found:
        yield Result("orphans", "ok", "no process of an earlier run")
        return
    said = "; ".join(f"{each.pid} {_words(each)}" for each in found)
    remedy = f"kill {' '.join(str(each.pid) for each in found)}, or --mend --end-orphans"
    yield Result("orphans", "warning", said, remedy, (lambda: _ended(found)) if end else None)


def _here(root: Path) -> Iterator[psutil.Process]:
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    root = root.resolve()
    for each in psutil.process_iter():
        try:
            if each.pid not in own and Path(each.cwd()).is_relative_to(root):
                yield each
        except (psutil.Error, OSError):
            continue


def _is(process: psutil.Process, program: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    named = any(Path(word).name == program for word in words[:2])  # dvc, or python .../bin/dvc
    module = words[words.index("-m") + 1 :][:1] if "-m" in words else []
    return named or any(each.partition(".")[0] == program for each in module)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(Path(word).name if number == 0 else word for number, word in enumerate(process.cmdline()))[:80]
    except psutil.Error:
        return "(ended)"


def _ended(found: list[psutil.Process]) -> str:
    """End these processes: politely, then at once; psutil tells a reused number by its start."""
    for each in found:
        try:
            each.terminate()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(found, timeout=PATIENCE_S)
    for each in left:
        each.kill()
    psutil.wait_procs(left, timeout=PATIENCE_S)
    return f"ended {', '.join(str(each.pid) for each in found)}"
