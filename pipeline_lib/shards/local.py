"""Workers as processes of this machine, each with its own model; GPUs are distributed among them.

A worker ends by itself within two seconds when its driver has ended, in whatever way.
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
    slot: int


class LocalPool:
    """Processes that are spawned, so that each has its own GPU and threads."""

    def __init__(self, order: Order, settings: ExecutorSettings) -> None:
        """Distribute the GPUs; no process is started yet.

        Args:
            order: what every worker is started with
            settings: number of workers, and GPUs a worker

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
            threads = max(1, (os.cpu_count() or 1) // settings.workers)
            print(
                f"{settings.workers} workers compute with all cores each; OMP_NUM_THREADS={threads} before the command"
                " divides them (from its first run on: results differ in the last bit between numbers of threads)",
                file=sys.stderr,
            )

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *exception: object) -> None:
        """End all workers at once; a shard in flight is lost."""
        for running in self._processes.values():
            running.process.kill()
        for running in self._processes.values():
            running.process.join()
            running.connection.close()
        self._processes.clear()

    def start(self) -> int:
        """Start a process in the first free slot and return its number."""
        taken = {running.slot for running in self._processes.values()}
        slot = next(i for i in range(len(self._gpus)) if i not in taken)
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(theirs, self._gpus[slot], os.getpid()), name=f"worker {slot}")
        process.start()
        theirs.close()
        # in a thread: a large job waits in the pipe until the process has imported what it needs
        threading.Thread(target=_send, args=(ours, self._order), daemon=True).start()
        self._counter += 1
        self._processes[self._counter] = _Process(process, ours, slot)
        return self._counter

    def submit(self, worker: int, task: Task) -> None:
        """Send a task to an idle worker; the death of the worker meanwhile is an event of ``poll``.

        Args:
            worker: its number
            task: the shard, or part of one
        """
        _send(self._processes[worker].connection, ForkingPickler.dumps(task))

    def poll(self) -> list[Event]:
        """Return messages, then deaths.

        A pipe may be held open by children of a dead worker; the system is asked whether the process lives.
        """
        events = []
        ready = wait([running.connection for running in self._processes.values()], timeout=1.0)
        for worker, running in list(self._processes.items()):
            dead = not running.process.is_alive()  # before the pipe is read: what it sent before it died is then in it
            if running.connection in ready or dead:
                try:
                    while running.connection.poll():
                        kind, failure = running.connection.recv()
                        events.append(Event(worker, kind, failure))
                except (EOFError, ConnectionError):
                    running.process.join(timeout=5)
                    dead = True
            if dead:
                running.process.join()
                running.connection.close()
                del self._processes[worker]
                events.append(Event(worker, "died", how=exit_message(running.process.exitcode)))
        return events


def exit_message(status: int | None) -> str:
    """Return the end of a process in words; a negative status is the signal that killed it."""
    if status is None or status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    likely = {
        "SIGKILL": " (the system does that when memory runs out; see dmesg)",
        "SIGSEGV": " (a crash in native code)",
        "SIGABRT": " (native code gave up)",
        "SIGBUS": " (memory or disk ran out)",
    }
    return f"killed by {name}{likely.get(name, '')}"


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, without loading torch."""
    if GPUS in os.environ:
        return [name for name in os.environ[GPUS].split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return [str(i) for i, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU"))]


def shares(gpus: list[str], workers: int, gpus_per_worker: float) -> list[str | None]:
    """Return the CUDA_VISIBLE_DEVICES of each worker; None leaves the variable as it is.

    Args:
        gpus: names of the visible GPUs
        workers: their number
        gpus_per_worker: 0, a share below 1 for several workers a GPU, or a whole number

    Raises:
        InputError: the GPUs do not hold as many workers
    """
    if not gpus or gpus_per_worker == 0:
        return [None if not gpus else ""] * workers
    if gpus_per_worker >= 1:
        step = int(gpus_per_worker)
        slots = [",".join(gpus[i : i + step]) for i in range(0, len(gpus) - step + 1, step)]
    else:
        slots = gpus * int(1 / gpus_per_worker + 1e-9)  # a second worker on a GPU when each has one
    if workers > len(slots):
        raise InputError(
            f"executor.workers is {workers} and gpus_per_worker {gpus_per_worker:g}; {len(gpus)} GPUs are visible,"
            f" which hold {len(slots)} such workers"
        )
    return list(slots[:workers])


def _send(connection: Connection, content: bytes | memoryview) -> None:
    with suppress(OSError):  # the worker has died, an event of ``poll``
        connection.send_bytes(content)


def _serve(connection: Connection, gpus: str | None, driver: int) -> None:
    """Run a worker until the driver has ended or closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which ends the workers
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
