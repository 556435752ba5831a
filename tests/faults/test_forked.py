"""Limits of a forked child: CPU time used, and time without any."""

import os
import time

from tests.faults import forked


def burn(seconds: float) -> None:
    """Use CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_child_that_goes_on_slowly_is_waited_for_beyond_its_limit():
    def slow() -> None:
        for _ in range(12):
            burn(0.03)
            time.sleep(0.15)

    began = time.monotonic()
    assert forked.run(slow, 1.2) == 0
    assert time.monotonic() - began > 1.2


def test_a_child_that_hangs_and_one_that_never_ends_are_killed():
    assert forked.run(lambda: time.sleep(60), 0.4) is None
    assert forked.run(lambda: burn(60), 0.4) is None
    assert forked.outcome(None, 0.4) == "was killed: it used 0.4 s of CPU time, or none for as long"


def test_the_cpu_time_of_a_childs_own_child_counts():
    def parent() -> None:
        if forked.run(lambda: burn(3), 50) is not None:
            os._exit(3)

    assert forked.run(parent, 0.6) is None


def test_an_exit_status_and_a_signal_are_told_apart():
    assert forked.outcome(forked.run(lambda: os._exit(3), 5), 5) == "ended with status 3"
    assert forked.outcome(forked.run(forked.die, 5), 5) == "was killed by signal 9"
