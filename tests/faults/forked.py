"""Run a function in a forked child, silently, and let it be killed."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable


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
    """Return the child's exit status, negative for a signal; None and the child killed when it takes longer."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run(work: Callable[[], None], seconds: float, said: str | None = None) -> int | None:
    """Do the work in a child; see ``wait``."""
    return wait(start(work, said), seconds)


def die() -> None:
    """Kill this very process, as nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)
