"""A Ray cluster of two nodes, whose actors, nodes and drivers are killed while a job runs; nothing is lost or doubled.

One cluster serves all cases: a head that stays, and a second node, each with room for two of the three actors. At a
moment that is drawn, an actor gets SIGKILL (up to twice), the second node goes and another comes, or the driver gets
SIGKILL and the same command runs again while the actors of the first may still live. At the end the driver has got
every row once and in order, and the shards are those of a process without workers, byte by byte.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import store
from tests.faults.cases import Case, command
from tests.shards.jobs import PLAN, N, Squares, pids

LIMIT_S = 120.0
PAUSE_S = 0.3  # a shard takes
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
THREE = ExecutorSettings(kind="ray", workers=3, max_attempts=4)
WHOLE = 70


class Nodes:
    """The cluster: a head that stays, and a second node that comes and goes."""

    def __init__(self) -> None:
        """Start both."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self.held: list[int] = []  # actors of each node that was removed
        self.folder = tempfile.mkdtemp(prefix="rc_")  # short: sockets lie in it
        self._cluster = Cluster(initialize_head=True, head_node_args={**NODE, "temp_dir": self.folder})
        self.add()

    @property
    def address(self) -> str:
        """Where drivers find it."""
        return self._cluster.address

    def add(self) -> None:
        """Start the second node."""
        self._second = self._cluster.add_node(**NODE)

    def remove(self, *, gracefully: bool) -> None:
        """End the second node and all that runs on it."""
        self._cluster.remove_node(self._second, allow_graceful=gracefully)

    def close(self) -> None:
        """End everything."""
        self._cluster.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)


def drive(folder: str, pause_s: float, executor: ExecutorSettings = THREE) -> None:
    """Be the driver: run the job and write down which squares came, in their order."""
    place = Path(folder)
    job = Squares(str(place / "notes"), pause_s=pause_s)
    (place / "notes").mkdir(parents=True, exist_ok=True)
    tables = store.run_shards(place / "work", PLAN, job.compute, "squaring", job=job, executor=executor)
    squares = pa.concat_tables(tables).column("square").to_pylist()
    (place / "squares.json").write_text(json.dumps(squares))


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every shard and sidecar."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "work").glob("shard_*")}


def alive(folder: Path) -> list[int]:
    """Return the actors that computed here and still live."""
    noted = pids(folder / "notes") if (folder / "notes").exists() else set()
    return sorted(pid for pid in noted if Path(f"/proc/{pid}/stat").exists() and b"ray::" in _words(pid))


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a zombie
    except (FileNotFoundError, ProcessLookupError):
        return b""


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, f"{what} within {seconds:.0f} s"
        time.sleep(0.02)


def kill_actors(nodes: Nodes, folder: Path, driver: subprocess.Popen, draw: random.Random) -> bool:
    """Kill one actor, or two one after the other."""
    os.kill(draw.choice(alive(folder)), signal.SIGKILL)
    time.sleep(draw.uniform(0.0, 4 * PAUSE_S))
    here = alive(folder)
    if here and draw.random() < 0.5:
        os.kill(draw.choice(here), signal.SIGKILL)
    return False


def replace_node(nodes: Nodes, folder: Path, driver: subprocess.Popen, draw: random.Random) -> bool:
    """Take the second node away and, a moment later, give another."""
    before = alive(folder)
    nodes.remove(gracefully=draw.random() < 0.5)
    nodes.held.append(len(before) - len(alive(folder)))
    time.sleep(draw.uniform(0.0, 1.0))
    nodes.add()
    return False


def kill_driver(nodes: Nodes, folder: Path, driver: subprocess.Popen, draw: random.Random) -> bool:
    """Kill the driver; the same command is to run again."""
    driver.kill()
    driver.wait()
    return True


HARM = {"actors killed": kill_actors, "node replaced": replace_node, "driver killed": kill_driver}


def started(nodes: Nodes, folder: Path) -> subprocess.Popen:
    """Start the command."""
    call = f"from tests.faults.ray_chaos import drive; drive({str(folder)!r}, {PAUSE_S})"
    environment = os.environ | {"RAY_ADDRESS": nodes.address, "RAY_USAGE_STATS_ENABLED": "0"}
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen([sys.executable, "-c", call], env=environment, stdout=said, stderr=said)


def harmed(nodes: Nodes, expected: dict[str, str], harm: str, finished: int, seed: int, folder: Path) -> None:
    """Run the job, do harm when so many shards are finished, and look at what comes out."""
    draw = random.Random(seed)
    driver = started(nodes, folder)
    try:
        until(
            lambda: (alive(folder) and len(list(folder.glob("work/shard_*.json"))) >= finished) or driver.poll(),
            LIMIT_S,
            f"{finished} shards were not finished",
        )
        time.sleep(draw.uniform(0.0, PAUSE_S))
        assert driver.poll() is None, f"the driver was through before: {_said(folder)}"
        if HARM[harm](nodes, folder, driver, draw):
            assert not (folder / "squares.json").exists()
            driver = started(nodes, folder)
        status = driver.wait(LIMIT_S)
    finally:
        driver.kill()
        driver.wait()
    assert status == 0, f"the command failed: {_said(folder)}"
    assert json.loads((folder / "squares.json").read_text()) == [row * row for row in range(N)]
    assert digests(folder) == expected, "other shards than without workers"
    until(lambda: not alive(folder), 20.0, f"actors {alive(folder)} of the run did not end")


def _said(folder: Path) -> str:
    return (folder / "said.txt").read_text(errors="replace")[-500:]


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield kinds of harm in turn, each at a moment that is drawn."""
    draw = random.Random(seed)
    nodes = Nodes()
    try:
        with tempfile.TemporaryDirectory(prefix="fault_alone_") as alone:
            drive(alone, 0.0, ExecutorSettings())
            expected = digests(Path(alone))
            assert len(expected) == 2 * len(PLAN)
            for number in range(count):
                harm, finished = list(HARM)[number % len(HARM)], draw.randrange(len(PLAN) - 2)
                check = partial(harmed, nodes, expected, harm, finished, draw.randrange(2**31))
                yield Case(f"when {finished} of {len(PLAN)} shards are finished", harm, check)
        print(f"nodes removed: {len(nodes.held)}, {sum(held > 0 for held in nodes.held)} of them with actors at work")
    finally:
        nodes.close()


if __name__ == "__main__":
    command("ray_chaos", cases, WHOLE)
