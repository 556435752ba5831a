"""The disk fills up at seven places of every stage's writes: a clear error, nothing half-written, and on it goes.

Each stage runs in a tmpfs of its own that is cut to what is there plus a share of what the stage needs at its peak (so
root is needed, or a kernel that gives a user a mount namespace). It must end with a sentence on the disk's space, leave
of its outputs only whole ones, and give the same bytes when the same command runs again with space.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.faults import scratch
from tests.faults.cases import Case, command, share
from tests.faults.scratch import STAGES, Stage, Whole

SHARES = (0.0, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9)
FULL = ("the disk is full at",)
PAGE = 4096


def mounted(folder: Path) -> bool:
    """Mount a tmpfs; return whether that is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True).returncode == 0


def limited(folder: Path, n_bytes: int | None) -> None:
    """Cut the tmpfs to a size, or give it a gigabyte."""
    size = "1g" if n_bytes is None else str(n_bytes // PAGE * PAGE)
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Return the bytes in use."""
    said = os.statvfs(folder)
    return (said.f_blocks - said.f_bfree) * said.f_frsize


def peak(made: Whole, stage: Stage, folder: Path) -> int:
    """Return how many bytes more than at its beginning the stage uses at most."""
    assert mounted(folder), "no tmpfs"
    try:
        scratch.before(made, stage, folder)
        began = most = used(folder)
        done = threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.001):
                most = max(most, used(folder))

        watching = threading.Thread(target=watch)
        watching.start()
        status = scratch.run(folder, stage)
        most = max(most, used(folder))
        done.set()
        watching.join()
        assert status == 0, f"{stage.name} ended with {status}"
        return most - began
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(made: Whole, stage: Stage, needs: int, at: float, folder: Path) -> None:
    """Run the stage on a disk that is too small, see what it says and leaves, and run it again with space."""
    place = folder / "disk"
    assert mounted(place), "no tmpfs"
    try:
        scratch.before(made, stage, place)
        limited(place, used(place) + int(needs * at))
        status = scratch.run(place, stage, folder / "said.txt")
        said = (folder / "said.txt").read_text(errors="replace")
        limited(place, None)
        if status != 0:  # the last share may be enough, the peak being measured from outside
            assert status is not None and status > 0, f"ended with {status}: {said[-300:]}"
            assert any(each in said for each in FULL), f"said {said[-300:]!r}"
            assert "Traceback" not in said, f"said {said[-400:]!r}"
        else:
            assert at >= SHARES[-1], "went on without space"
        expected, found = made.expected[stage.name], scratch.written(place, stage)
        half = [name for name, content in found.items() if name in expected and content != expected[name]]
        assert not half, f"left half-written {half}"
        again = scratch.run(place, stage, folder / "said.txt")
        assert again == 0, f"the same command failed: {(folder / 'said.txt').read_text(errors='replace')[-300:]}"
        assert scratch.written(place, stage) == expected, "another result"
        assert not scratch.strays(place), f"left {scratch.strays(place)}"
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def cases(count: int, seed: int, stages: Sequence[Stage] = STAGES) -> Iterator[Case]:
    """Yield ``count`` of every stage at every share, or all."""
    place = Path(tempfile.mkdtemp(prefix="fault_disk_"))
    try:
        made = scratch.whole(place / "whole", stages)
        needs: dict[str, int] = {}

        def check(stage: Stage, at: float, folder: Path) -> None:
            if stage.name not in needs:
                needs[stage.name] = peak(made, stage, place / "measured")
            filled(made, stage, needs[stage.name], at, folder)

        every = [Case(f"at {at:.0%}", stage.name, partial(check, stage, at)) for stage in stages for at in SHARES]
        yield from share(every, count, seed)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def allowed() -> bool:
    """Return whether a tmpfs can be mounted here."""
    folder = Path(tempfile.mkdtemp(prefix="fault_mount_"))
    found = mounted(folder)
    if found:
        subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()
    return found


if __name__ == "__main__":
    if not allowed():
        if os.geteuid() == 0 or not shutil.which("unshare"):
            sys.exit("disk_full: no tmpfs can be mounted here; run it as root")
        os.execvp("unshare", ["unshare", "-rm", sys.executable, "-m", "tests.faults.disk_full", *sys.argv[1:]])
    command("disk_full", cases, 100)
