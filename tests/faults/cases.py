"""A case, how many of them passed, and the command line that every suite has."""

import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline_lib.errors import InputError


@dataclass(frozen=True)
class Case:
    """One thing that is tried.

    Attributes:
        name: what is wrong, in a few words
        kind: under what it is counted
        check: is given an empty folder, raises when the promise is broken
    """

    name: str
    kind: str
    check: Callable[[Path], None]


@dataclass(frozen=True)
class Failure:
    """A case whose promise was broken, and how."""

    case: Case
    why: str

    def __str__(self) -> str:
        return f"{self.case.kind}: {self.case.name}: {self.why}"


def failure(case: Case) -> Failure | None:
    """Run one case in a folder of its own; whatever it raises is a failure."""
    folder = Path(tempfile.mkdtemp(prefix="fault_"))
    try:
        case.check(folder)
    except (Exception, SystemExit) as error:
        return Failure(case, f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


@contextmanager
def refused(pattern: str, error: type[Exception] = InputError, within_cpu_s: float | None = None) -> Iterator[None]:
    """Ask for an error a person can act on: of that class, its message matching, in time."""
    began = time.process_time()
    try:
        yield
    except error as caught:
        said = str(caught)
        assert re.search(pattern, said, re.DOTALL), f"refused with {said!r}, expected {pattern!r}"
        spent = time.process_time() - began
        assert within_cpu_s is None or spent < within_cpu_s, f"refused after {spent:.1f} s, expected {within_cpu_s} s"
        return
    raise AssertionError(f"was taken, expected it refused with {pattern!r}")


def share(cases: Iterable[Case], count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases in their order, drawn at random; all of them where there are no more."""
    listed = list(cases)
    rows = sorted(random.Random(seed).sample(range(len(listed)), min(count, len(listed))))
    return [listed[row] for row in rows]


def report(suite: str, cases: Iterable[Case]) -> int:
    """Run the cases until they end or Ctrl-C, print the counts and the failures, and return how many failed."""
    began, ran, failed = time.monotonic(), Counter(), []
    with suppress(KeyboardInterrupt):
        for case in cases:
            found = failure(case)
            ran[case.kind] += 1
            if found is not None:
                failed.append(found)
                print(f"FAILED {found}", flush=True)
    total = ran.total()
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(ran.items()))
    what = "; ".join(f"{kind} {count}" for kind, count in sorted(Counter(each.case.kind for each in failed).items()))
    seconds = time.monotonic() - began
    print(f"{suite}: {total} cases ({kinds}), {total - len(failed)} passed, failed: {what or 'none'}; {seconds:.0f} s")
    return len(failed)


def command(suite: str, cases: Callable[[int, int], Iterable[Case]], whole: int) -> None:
    """Be the suite's command line: ``--count`` cases (``whole`` by default) drawn with ``--seed``."""

    def main(
        count: Annotated[int, typer.Option(help="how many cases at most")] = whole,
        seed: Annotated[int, typer.Option(help="of what is drawn")] = 1,
    ) -> None:
        sys.exit(1 if report(suite, cases(count, seed)) else 0)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
