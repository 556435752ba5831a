"""One line of the doctor's table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        check: what was looked at
        state: a problem stops a run or makes it wrong; a warning may
        said: what is
        remedy: what to do, empty when all is well
        mend: does it and returns what was done; None where only a person can
    """

    check: str
    state: State
    said: str
    remedy: str = ""
    mend: Callable[[], str] | None = None
