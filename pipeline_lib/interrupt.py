"""Ctrl-C while a command imports its libraries, which takes seconds: one line instead of a traceback."""

import os
import signal
import sys
from types import FrameType

MESSAGE = "interrupted; the same command goes on from here"
STATUS = 130
COMMANDS = ("-m", "ser")  # what sys.argv[0] is while ``python -m`` or our script imports this project


def end_while_importing() -> None:
    """Let Ctrl-C end this process at once where it is a command of this project, until ``raise_again`` is called.

    No work has begun by then that would have to be cleaned up. An exception is not enough: a library that catches a
    failed import, or compiled code that imports, can swallow it or raise another error. While ``python -m`` imports the
    packages above the module that it will run, ``sys.argv[0]`` is "-m". Any other program that imports this project
    keeps its own handler.
    """
    if sys.argv and sys.argv[0].rpartition(os.sep)[2] in COMMANDS:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, as Python does by default, after ``end_while_importing``."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(STATUS)
