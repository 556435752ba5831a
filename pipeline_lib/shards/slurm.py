"""Workers as tasks of a SLURM array, submitted and polled through submitit.

Each array task has a share of the shards, commits them itself, and logs every shard that it begins and finishes; the
driver on the login node reads the logs. Shards that are left when an array task ends, through a time limit for example,
go into the next array. An array task whose driver's heartbeat stops for five minutes ends by itself.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit

from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import files
from pipeline_lib.shards.job import OUTDATED, Failure, Order, Task, Worker
from pipeline_lib.shards.schedule import Schedule
from pipeline_lib.storage import atomic

CLUSTER = "slurm"  # submitit's name; "local" runs the same on this machine
POLL_S = 5.0
BEAT_S, SILENCE_S = 15.0, 300.0
HEARTBEAT = ".heartbeat"


@dataclass
class _Share:
    """The driver's record of an array task."""

    submitted: submitit.Job
    log: Path
    tasks: list[Task]
    ready: bool = False
    began: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    read: int = 0
    checks: int = 0

    def is_over(self) -> bool:
        """Return whether it has ended; its log is read three times more for the rest, a shared disk may be slow."""
        if not self.submitted.done():
            return False
        self.checks += 1
        return len(self.ended) == len(self.tasks) or self.checks > 3

    def new_events(self) -> list[dict[str, Any]]:
        """Return the events of the log's complete lines that were not read before."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as file:
            file.seek(self.read)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self.read += len(complete)
        return [json.loads(line) for line in complete.splitlines()]


def run_arrays(order: Order, schedule: Schedule, settings: ExecutorSettings) -> Generator[int, None, None]:
    """Submit arrays until no task is left; yield the numbers of finished shards.

    Args:
        order: what every array task is started with
        schedule: tasks to compute
        settings: number of array tasks, and their resources

    Raises:
        InputError: this machine has no SLURM, an array task was cancelled, or that of the job
    """
    if CLUSTER == "slurm" and shutil.which("sbatch") is None:
        raise InputError("executor.kind is 'slurm' and this machine has no sbatch; run the command on a login node")
    round_ = 0
    with _heartbeat(order.folder):
        while len(schedule):
            shares = _submit(order, schedule, settings, order.folder / "slurm" / f"{order.token[-8:]}_{round_}")
            try:
                yield from _follow(shares, order, schedule)
            finally:
                for share in shares:
                    if not share.submitted.done():
                        share.submitted.cancel()
            round_ += 1


def serve(order: Order, tasks: list[Task], log: Path) -> None:
    """Run an array task: load the model, then compute its share.

    Args:
        order: folder, token and job
        tasks: of the share, in order
        log: file that the events are appended to
    """
    threading.Thread(target=_watch, args=(order.folder / HEARTBEAT,), daemon=True).start()

    def report(event: str, number: int = -1, failure: Failure | None = None) -> None:
        record: dict[str, Any] = {"event": event, "task": number}
        if failure is not None:
            record |= {"message": failure.message, "is_input_error": failure.is_input_error}
        atomic.append_line(log, json.dumps(record))

    worker = Worker()
    failure = worker.start(order)
    report("ready", failure=failure)
    if failure is not None:
        return
    for number, task in enumerate(tasks):
        report("begun", number)
        failure = worker.do(task)
        report("done", number, failure)
        if failure is not None:
            return


def _submit(order: Order, schedule: Schedule, settings: ExecutorSettings, folder: Path) -> list[_Share]:
    """Submit all tasks that wait as one array."""
    assert order.job is not None
    tasks = []
    while (task := schedule.take()) is not None:
        tasks.append(task)
    count = min(settings.workers, len(tasks))
    folder.mkdir(parents=True, exist_ok=True)
    executor = submitit.AutoExecutor(folder, cluster=CLUSTER)
    gpus = 0 if order.job.device in ("cpu", "mps") else int(settings.gpus_per_worker)
    resources: dict[str, Any] = {
        "name": "shards",
        "timeout_min": settings.slurm.time_min,
        "cpus_per_task": settings.slurm.cpus_per_worker,
        "mem_gb": settings.slurm.memory_gb,
        "gpus_per_node": gpus,
        "slurm_array_parallelism": count,
    }
    if settings.slurm.partition is not None:
        resources["slurm_partition"] = settings.slurm.partition
    executor.update_parameters(**resources)
    logs = [folder / f"share_{i}.jsonl" for i in range(count)]
    with executor.batch():
        submitted = [executor.submit(serve, order, tasks[i::count], log) for i, log in enumerate(logs)]
    return [_Share(job, log, tasks[i::count]) for i, (job, log) in enumerate(zip(submitted, logs, strict=True))]


def _follow(shares: list[_Share], order: Order, schedule: Schedule) -> Generator[int, None, None]:
    """Yield finished shards of one array until all its tasks have ended."""
    running = list(shares)
    while running:
        for share in list(running):
            over = share.is_over()  # before the log is read: what it wrote before it ended is then in it
            for event in share.new_events():
                if "message" in event:
                    raise Failure(event["message"], event["is_input_error"]).error()
                if event["event"] == "ready":
                    share.ready = True
                    schedule.ready()
                elif event["event"] == "begun":
                    share.began.add(event["task"])
                else:
                    share.ended.add(event["task"])
                    task = share.tasks[event["task"]]
                    schedule.done(task)
                    if task.whole:
                        yield task.number
            if over:
                running.remove(share)
                files.check_token(order.folder, order.token)
                _settle(share, schedule)
        if running:
            time.sleep(POLL_S)


def _settle(share: _Share, schedule: Schedule) -> None:
    """Put back the tasks that an array task left when it ended, and count a death for the one that it computed."""
    left = [number for number in range(len(share.tasks)) if number not in share.ended]
    if not left:
        return
    state = share.submitted.state
    if state.startswith("CANCELLED"):
        raise InputError(f"SLURM job {share.submitted.job_id} was cancelled; the same command goes on from here")
    how = f"ended in state {state} (SLURM job {share.submitted.job_id}, its log is in {share.log.parent})"
    for number in reversed(left):
        if number not in share.began or state == "PREEMPTED":
            schedule.put_back(share.tasks[number])
    if not share.ready and state != "PREEMPTED":
        schedule.died_unready(how)
    for number in left:
        if number in share.began and state != "PREEMPTED":
            schedule.died(share.tasks[number], how)


@contextmanager
def _heartbeat(folder: Path) -> Iterator[None]:
    """Write the driver's heartbeat for the array tasks, from a thread of its own."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(BEAT_S):
            count += 1
            files.write(folder / HEARTBEAT, str(count).encode())

    files.write(folder / HEARTBEAT, b"0")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(heartbeat: Path) -> None:
    """End this process when the heartbeat stops; contents are compared, clocks may differ between machines."""
    seen, since = b"", time.monotonic()
    while time.monotonic() - since < SILENCE_S:
        time.sleep(min(BEAT_S, SILENCE_S / 4))
        try:
            now = heartbeat.read_bytes()
        except FileNotFoundError:
            now = seen
        if now != seen:
            seen, since = now, time.monotonic()
    os._exit(OUTDATED)
