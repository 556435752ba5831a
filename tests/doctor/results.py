"""Results of the doctor by the name of their check, and a process for it to see."""

import subprocess
import sys
import time
from pathlib import Path

import psutil


def by_check(findings) -> dict:
    return {each.check: each for each in findings}


def states(findings) -> dict[str, str]:
    return {each.check: each.state for each in findings}


def started(place: Path, *words: str) -> subprocess.Popen:
    """Start a sleeping process in the project whose command line ends in ``words``."""
    code = "import time; time.sleep(60)"
    done = subprocess.Popen([sys.executable, "-c", code, *words], cwd=place)
    while psutil.Process(done.pid).cmdline()[-len(words) :] != list(words):
        time.sleep(0.01)
    return done
