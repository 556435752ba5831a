"""Commands fail in one sentence where the user can fix the cause, with a traceback where only we can."""

import os
import signal
import subprocess
import sys
from pathlib import Path

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


def test_an_interrupt_of_which_a_library_made_another_error_is_an_interrupt():
    body = "    try:\n        raise KeyboardInterrupt\n"
    body += "    except BaseException as error:\n        raise ImportError from error"
    done = run(f"def main() -> None:\n{body}")
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command goes on from here\n")


def test_a_package_of_an_extra_is_named_with_the_extra_and_any_other_keeps_its_traceback():
    done = run("def main() -> None:\n    raise ModuleNotFoundError('no', name='matplotlib.pyplot')")
    message = "error: matplotlib is not installed; pip install 'speech-emotion-pipeline[pipeline]'\n"
    assert (done.returncode, done.stderr) == (1, message)
    done = run("def main() -> None:\n    raise ModuleNotFoundError('no', name='pipeline_lib.nothing')")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("module", ["stages.check", "pipeline_lib.cli"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(module, tmp_path):
    # whatever library is imported first here waits, and raises what a library makes of an interrupt inside itself
    body = "import sys, time\nprint('importing', flush=True)\ntry:\n    time.sleep(60)\n"
    (tmp_path / "typer.py").write_text(body + "except BaseException as error:\n    raise ImportError from error\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen([sys.executable, "-m", module], env=environment, **pipes)
    assert started.stdout.readline() == "importing\n"
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (130, "interrupted; the same command goes on from here\n")


def test_whoever_imports_the_project_keeps_their_own_handler():
    handler = "signal.getsignal(signal.SIGINT)"  # of a job in the background it is not Python's own
    source = f"import signal; before = {handler}; import pipeline_lib, stages; print({handler} is before)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"


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
