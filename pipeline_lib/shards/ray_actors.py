"""Workers as Ray actors that load their model once: on this machine, or on the cluster that RAY_ADDRESS names.

Without RAY_ADDRESS Ray is started here and stopped again. Machines of a cluster must see the project's folder and the
corpus under the same paths; each worker checks that before it loads. Ray ends the actors with their driver.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network

import ray  # noqa: E402
from ray.exceptions import OutOfMemoryError, RayActorError, RayError  # noqa: E402

from pipeline_lib.errors import InputError  # noqa: E402
from pipeline_lib.params.executor import ExecutorSettings  # noqa: E402
from pipeline_lib.shards.job import Failure, Order, Task, Worker  # noqa: E402
from pipeline_lib.shards.worker_pool import Event, EventKind  # noqa: E402

CPUS = 0.5  # of an actor, as Ray counts; whole ones would starve others on a small machine
CARRIED = ("OMP_", "MKL_", "CUBLAS_", "TOKENIZERS_", "HF_HUB_", "HF_HOME", "PYTORCH_")  # HF_TOKEN stays here
THREADS = "OMP_NUM_THREADS"  # Ray sets it to 1 where it is not set


class Actor:
    """A worker in a process of Ray's; its environment is the driver's before anything heavy is imported."""

    def __init__(self, environment: dict[str, str], folder: str, path: list[str]) -> None:
        """Set the environment that arithmetic and relative paths depend on.

        Args:
            environment: variables to set
            folder: that the driver runs in
            path: of modules
        """
        os.environ.pop(THREADS, None)
        os.environ.update(environment)
        sys.path[:0] = [entry for entry in path if entry not in sys.path]
        if Path(folder).is_dir():  # else the worker fails on starting: no folder of shards
            os.chdir(folder)
        self._worker = Worker()

    def start(self, order: Order) -> Failure | None:
        """Load the model; return the failure, None where there was none."""
        return self._worker.start(order)

    def do(self, task: Task) -> Failure | None:
        """Compute a shard and commit it; return the failure, None where there was none."""
        return self._worker.do(task)


class RayPool:
    """Actors; one that dies is replaced by a new one, on any machine of the cluster."""

    def __init__(self, order: Order, settings: ExecutorSettings) -> None:
        """Hold what actors are started with; Ray starts on entering the context.

        Args:
            order: folder, token and job
            settings: number of workers, and GPUs a worker
        """
        self._order, self._settings = order, settings
        self._actors: dict[int, ray.actor.ActorHandle] = {}
        self._waiting: dict[ray.ObjectRef, tuple[int, EventKind]] = {}
        self._counter = 0
        self._ours = False

    def __enter__(self) -> "RayPool":
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS") or "local"
            local = {"include_dashboard": False} if address == "local" else {}
            try:
                ray.init(address=address, logging_level="WARNING", **local)
            except (ConnectionError, RayError) as error:
                raise InputError(
                    f"Ray does not answer at RAY_ADDRESS {address!r}: {error} (see ray status; unset RAY_ADDRESS to"
                    " start it on this machine)"
                ) from None
            self._ours = True
        self._options = self._resources()
        self._sent = ray.put(self._order)
        return self

    def __exit__(self, *exception: object) -> None:
        """End all actors at once, and Ray where it was started for them."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        self._waiting.clear()
        self._sent = None
        if self._ours:
            ray.shutdown()

    def start(self) -> int:
        """Start an actor and return its number."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        actor = ray.remote(Actor).options(**self._options).remote(environment, str(Path.cwd()), sys.path)
        self._counter += 1
        self._actors[self._counter] = actor
        self._waiting[actor.start.remote(self._sent)] = (self._counter, "ready")
        return self._counter

    def submit(self, worker: int, task: Task) -> None:
        """Send a task to an idle actor.

        Args:
            worker: its number
            task: the shard, or part of one
        """
        self._waiting[self._actors[worker].do.remote(task)] = (worker, "done")

    def poll(self) -> list[Event]:
        """Return results and deaths, after a second at most."""
        ready, _ = ray.wait(list(self._waiting), num_returns=1, timeout=1.0)
        events = []
        for reference in ready:
            worker, kind = self._waiting.pop(reference)
            try:
                events.append(Event(worker, kind, ray.get(reference)))
            except (RayActorError, OutOfMemoryError) as error:
                ray.kill(self._actors.pop(worker))
                events.append(Event(worker, "died", how=_exit_message(error)))
        return events

    def _resources(self) -> dict[str, float]:
        """Return the CPUs and GPUs that an actor requests from Ray.

        Raises:
            InputError: the cluster has GPUs, but fewer than requested
        """
        assert self._order.job is not None
        available, workers, gpus = ray.cluster_resources(), self._settings.workers, self._settings.gpus_per_worker
        cpus = min(CPUS, available.get("CPU", 1.0) / workers)
        if self._order.job.device in ("cpu", "mps") or not available.get("GPU") or gpus == 0:
            return {"num_cpus": cpus}
        if workers * gpus > available["GPU"]:
            raise InputError(
                f"executor.workers is {workers} and gpus_per_worker {gpus:g}; the Ray cluster has"
                f" {available['GPU']:g} GPUs"
            )
        return {"num_cpus": cpus, "num_gpus": gpus}


def _exit_message(error: Exception) -> str:
    """Return the end of an actor in Ray's words, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    relevant = [line for line in lines if "exit" in line.lower() or "memory" in line.lower()] or lines
    return f"ended, Ray reports: {' '.join(relevant)[:300]}"
