"""kill -9 at random points of every stage, then the same command again: the same bytes, no manual step, nothing mixed.

Killed are the stage's process, its whole group, the process twice in a row, or ``dvc`` alone, whose stage then goes on
without it while the second ``dvc`` begins. A tenth are kills in a project with folds, of what fits a model a fold.
Stages run in forked children (``scratch``); ``dvc`` is the real one, in a clone. Where an empty ``.dvc/tmp/rwlock`` or
half a ``dvc.lock`` is left, which DVC refuses to read, ``ser doctor --fix`` is run; how often is printed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.faults import forked, scratch
from tests.faults.cases import Case, command
from tests.faults.scratch import OF_FOLDS, ROOT, STAGES, Stage, Whole

LIMIT_S = 600.0
HOW = ("process", "group", "twice")
SHARE_OF_DVC = 0.1
SHARE_OF_FOLDS = 0.1
THROUGH_DVC = ("check", "corpus", "rebalancing@audio", "rebalancing@text", "fusion", "scoring", "embedding@text")
MENDED: Counter[str] = Counter()


def killed(made: Whole, stage: Stage, how: str, shares: list[float], folder: Path) -> None:
    """Kill the stage, once or twice, run it again and compare."""
    scratch.before(made, stage, folder)
    for share in shares:
        child = forked.start(scratch.command(folder, stage))
        time.sleep(share * made.seconds[stage.name])
        try:
            (os.killpg if how == "group" else os.kill)(child, signal.SIGKILL)
        except ProcessLookupError:  # it is not yet the leader of a group
            os.kill(child, signal.SIGKILL)
        assert forked.wait(child, 30) is not None
    status = scratch.run(folder, stage, folder / "said.txt")
    said = (folder / "said.txt").read_text(errors="replace")
    assert status == 0, f"the same command ended with {status}: {said[-400:]}"
    same(made.expected[stage.name], folder, stage)


def same(expected: dict[str, bytes], folder: Path, stage: Stage) -> None:
    """Compare what the stage wrote, and look for what is left."""
    found = scratch.written(folder, stage)
    odd = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    assert not odd, f"differs in {odd}"
    assert not scratch.strays(folder), f"left {scratch.strays(folder)}"
    left = scratch.outlived(folder)
    assert not left, f"{len(left)} processes outlived their stage, {left[0]!r} first"


def dvc(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start DVC in a session of its own, its output in said.txt."""
    beside = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": beside + os.pathsep + os.environ["PATH"], "DVC_NO_ANALYTICS": "1"}
    with (folder.parent / "said.txt").open("wb") as said:
        line = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.Popen(
            line,
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def clone(folder: Path) -> None:
    """Make a repository of the working tree with small sizes, and run all of it once."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "metrics/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    scratch.write_params(folder / "params.yaml")
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for line in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "clone"]):
        subprocess.run(["git", *line], cwd=folder, check=True)
    status = dvc(folder, "repro", "--quiet").wait(LIMIT_S)
    assert status == 0, (folder.parent / "said.txt").read_text(errors="replace")[-2000:]


def killed_dvc(made: Path, stage: Stage, seconds: float, share: float, pause: float, folder: Path) -> None:
    """Kill DVC alone, let its stage go on, and give the same command while it may still be at work."""
    place = folder / "clone"
    shutil.copytree(made, place, symlinks=True)
    expected = scratch.written(made, stage)
    line = ("repro", "--force", "--single-item", stage.name)
    first = dvc(place, *line)
    try:
        time.sleep(share * seconds)
        first.kill()
        first.wait()
        time.sleep(pause)
        again(place, line, stage)
        same(expected, place, stage)
    finally:
        if group_lives(first.pid):
            os.killpg(first.pid, signal.SIGKILL)


def again(place: Path, line: tuple[str, ...], stage: Stage) -> None:
    """Give the same command; where a lock file blocks it, do what DVC's message cannot say and the doctor does."""
    status = dvc(place, *line).wait(LIMIT_S)
    if status == 0:
        MENDED["not needed"] += 1
        return
    said = (place.parent / "said.txt").read_text(errors="replace")
    healed = subprocess.run(
        [sys.executable, "-m", "pipeline_lib.cli", "doctor", "--fix"], cwd=place, capture_output=True, text=True
    )
    MENDED[" ".join(said.split())[-160:]] += 1
    status = dvc(place, *line).wait(LIMIT_S)
    after = (place.parent / "said.txt").read_text(errors="replace")
    assert status == 0, f"first {said[-200:]!r}, after the doctor ({healed.stdout[-200:]!r}) {after[-300:]!r}"


def group_lives(leader: int) -> bool:
    """Return whether a process of the group is there."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def stage_kills(
    count: int, draw: random.Random, place: Path, stages: Sequence[Stage] = STAGES, *, folded: bool = False
) -> Iterator[Case]:
    """Yield kills of stages, each stage in turn; with folds of those that fit a model a fold."""
    made = scratch.whole(place / ("folds" if folded else "whole"), stages, folded=folded)
    stages = [stage for stage in stages if not folded or stage in OF_FOLDS]
    for number in range(count):
        stage, how = stages[number % len(stages)], HOW[number // len(stages) % len(HOW)]
        shares = [draw.uniform(0, 1.05) for _ in range(2 if how == "twice" else 1)]
        name = (
            f"{stage.name}{' in folds' * folded}, {how}, at {', '.join(f'{share:.3f}' for share in shares)} of its time"
        )
        yield Case(name, how, partial(killed, made, stage, how, shares))


def dvc_kills(count: int, draw: random.Random, place: Path) -> Iterator[Case]:
    """Yield kills of DVC alone."""
    made = place / "repository" / "clone"
    made.mkdir(parents=True)
    clone(made)
    stages = [stage for stage in STAGES if stage.name in THROUGH_DVC]
    seconds: dict[str, float] = {}
    for number in range(count):
        stage = stages[number % len(stages)]
        if stage.name not in seconds:
            began = time.monotonic()
            assert dvc(made, "repro", "--force", "--single-item", stage.name).wait(LIMIT_S) == 0
            seconds[stage.name] = time.monotonic() - began
        share, pause = draw.uniform(0.1, 1.0), draw.choice((0.0, 0.0, 0.5, 2.0))
        name = f"{stage.name}, at {share:.3f} of its time, again after {pause} s"
        yield Case(name, "dvc", partial(killed_dvc, made, stage, seconds[stage.name], share, pause))
    for said, times in MENDED.most_common():
        print(f"after a kill of dvc the doctor was {said if said == 'not needed' else f'needed: {said}'}: {times}")


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield kills of stages, and every tenth of DVC."""
    place, draw = Path(tempfile.mkdtemp(prefix="fault_kills_")), random.Random(seed)
    through, folded = int(count * SHARE_OF_DVC), int(count * SHARE_OF_FOLDS)
    try:
        yield from stage_kills(count - through - folded, draw, place)
        if folded:
            yield from stage_kills(folded, draw, place, folded=True)
        if through:
            yield from dvc_kills(through, draw, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    command("kills", cases, 700)
