"""One line of the doctor's table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Result:
    """Result of one check.

    Attributes:
        check: name of the check
        state: a problem stops a run or makes it wrong; a warning may
        message: the present state, in words
        remedy: what to do, empty where the state is ok
        fix: applies the remedy and returns what was done; None where only the user can
    """

    check: str
    state: State
    message: str
    remedy: str = ""
    fix: Callable[[], str] | None = None
