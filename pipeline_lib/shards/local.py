"""Workers as processes of this machine, each with its own model; GPUs are shared out among them.

A worker ends by itself within two seconds when its driver is no more, however that died.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler

from pipeline_lib.command import end_with
from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards.job import OUTDATED, Order, Task, Worker
from pipeline_lib.shards.worker_pool import Event

SPAWN = multiprocessing.get_context("spawn")  # a forked process could not use a GPU, nor threads
GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class _Process:
    process: BaseProcess
    connection: Connection
    place: int


class LocalCrew:
    """Processes that are started afresh, so that each has its own GPU and threads."""

    def __init__(self, order: Order, settings: ExecutorSettings) -> None:
        """Share out the GPUs; no process is started yet.

        Raises:
            InputError: more workers than the GPUs hold
        """
        assert order.job is not None
        gpus = [] if order.job.device in ("cpu", "mps") else visible_gpus()
        self._gpus = shares(gpus, settings.workers, settings.gpus_per_worker)
        self._order = ForkingPickler.dumps(order)
        self._processes: dict[int, _Process] = {}
        self._counter = 0
        if settings.workers > 1 and not gpus and "OMP_NUM_THREADS" not in os.environ:
            each = max(1, (os.cpu_count() or 1) // settings.workers)
            print(
                f"{settings.workers} workers compute with all cores each; OMP_NUM_THREADS={each} before the command"
                " shares them out (from its first run on: results differ in the last bit between numbers of threads)",
                file=sys.stderr,
            )

    def __enter__(self) -> "LocalCrew":
        return self

    def __exit__(self, *exception: object) -> None:
        """End all workers at once; a shard in flight is lost."""
        for each in self._processes.values():
            each.process.kill()
        for each in self._processes.values():
            each.process.join()
            each.connection.close()
        self._processes.clear()

    def start(self) -> int:
        """Start a process on the first place that is free."""
        taken = {each.place for each in self._processes.values()}
        place = next(i for i in range(len(self._gpus)) if i not in taken)
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(theirs, self._gpus[place], os.getpid()), name=f"worker {place}")
        process.start()
        theirs.close()
        # in a thread: a large job waits in the pipe until the process has imported what it needs
        threading.Thread(target=_send, args=(ours, self._order), daemon=True).start()
        self._counter += 1
        self._processes[self._counter] = _Process(process, ours, place)
        return self._counter

    def submit(self, worker: int, task: Task) -> None:
        """Send the task; that the worker has died meanwhile is seen by ``wait``."""
        _send(self._processes[worker].connection, ForkingPickler.dumps(task))

    def poll(self) -> list[Event]:
        """Return messages, then deaths; a pipe's end may outlive a worker in its own children, so ask the system."""
        events = []
        ready = wait([each.connection for each in self._processes.values()], timeout=1.0)
        for worker, each in list(self._processes.items()):
            dead = not each.process.is_alive()  # asked first: what it sent before it died is then in the pipe
            if each.connection in ready or dead:
                try:
                    while each.connection.poll():
                        kind, failure = each.connection.recv()
                        events.append(Event(worker, kind, failure))
                except (EOFError, ConnectionError):
                    each.process.join(timeout=5)
                    dead = True
            if dead:
                each.process.join()
                each.connection.close()
                del self._processes[worker]
                events.append(Event(worker, "died", how=how(each.process.exitcode)))
        return events


def how(status: int | None) -> str:
    """Return how a process ended, in words; a negative status is the signal that killed it."""
    if status is None or status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    guess = {
        "SIGKILL": " (the system does that when memory runs out; see dmesg)",
        "SIGSEGV": " (a crash in native code)",
        "SIGABRT": " (native code gave up)",
        "SIGBUS": " (memory or disk ran out)",
    }
    return f"killed by {name}{guess.get(name, '')}"


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, found without loading torch."""
    if GPUS in os.environ:
        return [each for each in os.environ[GPUS].split(",") if each.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return [str(i) for i, line in enumerate(each for each in listed.splitlines() if each.startswith("GPU"))]


def shares(gpus: list[str], workers: int, gpus_per_worker: float) -> list[str | None]:
    """Return what each worker sees as CUDA_VISIBLE_DEVICES; None leaves it as it is.

    Raises:
        InputError: the GPUs do not hold as many workers
    """
    if not gpus or gpus_per_worker == 0:
        return [None if not gpus else ""] * workers
    if gpus_per_worker >= 1:
        step = int(gpus_per_worker)
        places = [",".join(gpus[i : i + step]) for i in range(0, len(gpus) - step + 1, step)]
    else:
        places = gpus * int(1 / gpus_per_worker + 1e-9)  # a second worker on a GPU when each has one
    if workers > len(places):
        raise InputError(
            f"executor.workers is {workers} and gpus_per_worker {gpus_per_worker:g}; {len(gpus)} GPUs are visible,"
            f" which hold {len(places)} such workers"
        )
    return list(places[:workers])


def _send(connection: Connection, content: bytes | memoryview) -> None:
    with suppress(OSError):  # the worker has died, which ``wait`` tells
        connection.send_bytes(content)


def _serve(connection: Connection, gpus: str | None, driver: int) -> None:
    """Be a worker until the driver is gone or closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, who ends the workers
    end_with(driver, OUTDATED)
    if gpus is not None:
        os.environ[GPUS] = gpus
    worker = Worker()
    try:
        connection.send(("ready", worker.start(connection.recv())))
        while True:
            task = connection.recv()
            connection.send(("done", worker.do(task)))
    except (EOFError, ConnectionError):
        os._exit(OUTDATED)
