"""Run a function in a forked child, silently, and let it be killed.

Limits are of CPU time, not of the clock: how far a child comes in a minute depends on what else the machine does.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

import psutil

LOOK_S = 0.25  # between two looks at the CPU time of a child and of its own children


def start(work: Callable[[], None], said: str | None = None) -> int:
    """Fork a child that does the work, its output going to the file ``said`` or nowhere; return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        target = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = sys.stderr = open(1, "w", closefd=False, buffering=1)  # noqa: PTH123, SIM115
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """Wait for the child and return its exit status, negative for a signal.

    Args:
        child: its process id
        seconds: CPU time that it and its own children may use, and the longest time in which they use none

    Returns:
        None where it went beyond either, and was killed
    """
    used, changed, look = 0.0, time.monotonic(), 0.0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if (now := time.monotonic()) >= look:
            look, before, used = now + LOOK_S, used, _cpu_seconds(child)
            changed = now if used != before else changed
            if used > seconds or now - changed > seconds:
                break
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _cpu_seconds(child: int) -> float:
    """Return the CPU time of a process that was not waited for yet, of its descendants, and of those that ended."""
    process, total = psutil.Process(child), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def outcome(status: int | None, seconds: float) -> str:
    """Return in words how a child ended.

    Args:
        status: from ``wait``
        seconds: its limit
    """
    if status is None:
        return f"was killed: it used {seconds:g} s of CPU time, or none for as long"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def run(work: Callable[[], None], seconds: float, said: str | None = None) -> int | None:
    """Do the work in a child; see ``wait``."""
    return wait(start(work, said), seconds)


def die() -> None:
    """Kill this very process, as nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)
