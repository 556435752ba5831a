"""Distribute tasks to workers, start new workers for those that die, and stop them all at the end.

Ray and submitit are imported only where ``executor.kind`` is theirs.
"""

from collections.abc import Generator, Sequence

from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import files
from pipeline_lib.shards.job import Order, Task
from pipeline_lib.shards.schedule import Schedule
from pipeline_lib.shards.worker_pool import WorkerPool


def execute(
    settings: ExecutorSettings, order: Order, tasks: Sequence[Task], description: str
) -> Generator[int, None, None]:
    """Compute the tasks by workers and yield each shard's number when it is finished, in any order.

    Args:
        settings: kind and number of the workers
        order: what every worker is started with: folder, token and job
        tasks: the shards that are not finished, in the order in which they are expected
        description: of the work, for messages

    Raises:
        InputError: that of the job, at once; or, after everything else is finished, for utterances that kill workers
        ValueError: the order has no job
    """
    if not tasks:
        return
    if order.job is None:
        raise ValueError("job is None and the executor has workers")
    schedule = Schedule(tasks, settings.max_attempts, description)
    try:
        match settings.kind:
            case "local":
                from pipeline_lib.shards.local import LocalPool

                yield from _distribute(LocalPool(order, settings), order, schedule, settings.workers)
            case "ray":
                from pipeline_lib.shards.ray_actors import RayPool

                yield from _distribute(RayPool(order, settings), order, schedule, settings.workers)
            case "slurm":
                from pipeline_lib.shards.slurm import run_arrays

                yield from run_arrays(order, schedule, settings)
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "submitit"):
            raise
        raise InputError(
            f"executor.kind is {settings.kind!r} and {error.name} is not installed; pip install"
            ' "speech-emotion-pipeline[cluster]", or set kind to local'
        ) from None
    schedule.refuse_poison_rows(order.job.ids)


def _distribute(pool: WorkerPool, order: Order, schedule: Schedule, workers: int) -> Generator[int, None, None]:
    """Keep every worker busy until no task is left; yield the numbers of finished shards."""
    loading: set[int] = set()
    idle: list[int] = []
    busy: dict[int, Task] = {}
    with pool:
        while len(schedule):
            while len(loading) + len(idle) + len(busy) < min(workers, len(schedule)):
                loading.add(pool.start())
            while idle and (task := schedule.take()) is not None:
                busy[idle[-1]] = task
                pool.submit(idle.pop(), task)
            for event in pool.poll():
                task = busy.pop(event.worker, None)
                if event.failure is not None:
                    raise event.failure.error()
                if event.kind == "died":
                    files.check_token(order.folder, order.token)  # else it ended because its run is over
                    if event.worker in loading:
                        schedule.died_unready(event.how)
                    elif task is not None:
                        schedule.died(task, event.how)
                    idle = [worker for worker in idle if worker != event.worker]
                else:
                    idle.append(event.worker)
                    if task is None:
                        schedule.ready()
                    else:
                        schedule.done(task)
                        if task.whole:
                            yield task.number
                loading.discard(event.worker)
