"""Commands fail in one sentence for what a user can mend, with a traceback for what only we can."""

import subprocess
import sys

import pytest

from pipeline_lib.command import progress


def run(body: str) -> subprocess.CompletedProcess[str]:
    source = (
        f"from pipeline_lib.command import run, progress\nfrom pipeline_lib.errors import InputError\n{body}\nrun(main)"
    )
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)


def test_an_input_error_is_printed_without_traceback():
    done = run("def main() -> None:\n    raise InputError('a.csv line 3: no such label')")
    assert done.returncode == 1
    assert done.stderr == "error: a.csv line 3: no such label\n"


def test_a_fault_of_ours_keeps_its_traceback():
    done = run("def main() -> None:\n    raise KeyError('ours')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'ours'" in done.stderr


def test_a_full_disk_is_said_in_a_sentence_wherever_it_was_met():
    body = "    try:\n        raise OSError(28, 'No space left on device', 'work/a')\n"
    body += "    except OSError:\n        raise RuntimeError('a writer stopped')"
    done = run(f"def main() -> None:\n{body}")
    assert done.returncode == 1
    assert done.stderr == "error: the disk is full at work/a; free some space and run the same command\n"


def test_a_thread_that_meets_a_full_disk_says_so_in_a_line_and_another_fault_keeps_its_traceback():
    lines = ["import threading", "def write(error):", "    raise error", "def main() -> None:"]
    for error in ("OSError(28, 'No space left on device', 'work/log')", "KeyError('ours')"):
        thread = f"    thread = threading.Thread(target=write, args=({error},))"
        done = run("\n".join([*lines, thread, "    thread.start()", "    thread.join()"]))
        if "OSError" in error:
            assert done.stderr == "the disk is full at work/log\n"
        else:
            assert "Traceback" in done.stderr
            assert "KeyError: 'ours'" in done.stderr


def test_ctrl_c_says_that_the_same_command_goes_on():
    done = run("def main() -> None:\n    raise KeyboardInterrupt")
    assert done.returncode == 130
    assert "the same command goes on" in done.stderr


@pytest.mark.parametrize("done_before", [0, 2])
def test_a_bar_shows_what_is_done_of_what_there_is(done_before):
    body = f"def main() -> None:\n    with progress(4, 'counting', {done_before}) as advance:\n        advance(2)"
    done = run(body)
    assert done.returncode == 0
    assert f"{done_before + 2}/4" in done.stderr


def test_no_bar_is_shown_where_nothing_is_left(capfd):
    with progress(4, "counting", 4):
        pass
    assert capfd.readouterr() == ("", "")
