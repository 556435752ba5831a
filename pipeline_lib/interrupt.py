"""Ctrl-C while a command imports its libraries, which takes seconds: one line, and no traceback out of their middle."""

import os
import signal
import sys
from types import FrameType

MESSAGE = "interrupted; the same command goes on from here"
STATUS = 130


def end_while_importing() -> None:
    """Let Ctrl-C end this process at once where it runs a module of this project, until ``command.run`` calls it.

    Nothing has begun by then that would have to be left in order. An exception would not do: a library whose import
    another one catches, or compiled code that imports, can swallow it or make another error of it. While ``python -m``
    imports the packages above a module that it is to run, ``sys.argv[0]`` is "-m"; whoever else imports this project
    keeps a handler of their own.
    """
    if sys.argv[:1] == ["-m"]:
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as it does in Python, where ``end_while_importing`` has changed that."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(STATUS)
