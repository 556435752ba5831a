"""Share tasks out among workers, hire others for those who die, and stop them all in the end.

Ray and submitit are imported only by those who ask for them.
"""

from collections.abc import Iterator, Sequence

from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import files
from pipeline_lib.shards.job import Order, Task
from pipeline_lib.shards.schedule import Schedule
from pipeline_lib.shards.worker_pool import WorkerPool


def execute(settings: ExecutorSettings, order: Order, tasks: Sequence[Task], description: str) -> Iterator[int]:
    """Have the tasks done and yield each shard's number when it is finished, in any order.

    Args:
        settings: who computes
        order: what every worker is started with
        tasks: the shards that are not finished, in the order in which they are expected
        description: of the work, for messages

    Raises:
        InputError: the job's own, at once; or, after everything else is finished, the utterances that kill workers
    """
    if not tasks:
        return
    if order.job is None:
        raise ValueError("job is None and the executor has workers")
    schedule = Schedule(tasks, settings.max_attempts, description)
    try:
        match settings.kind:
            case "local":
                from pipeline_lib.shards.local import LocalCrew

                yield from _share_out(LocalCrew(order, settings), order, schedule, settings.workers)
            case "ray":
                from pipeline_lib.shards.ray_actors import RayCrew

                yield from _share_out(RayCrew(order, settings), order, schedule, settings.workers)
            case "slurm":
                from pipeline_lib.shards.slurm import work_off

                yield from work_off(order, schedule, settings)
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "submitit"):
            raise
        raise InputError(
            f"executor.kind is {settings.kind!r} and {error.name} is not installed; pip install"
            ' "speech-emotion-pipeline[cluster]", or set kind to local'
        ) from None
    schedule.refuse_poison_rows(order.job.ids)


def _share_out(pool: WorkerPool, order: Order, schedule: Schedule, workers: int) -> Iterator[int]:
    """Keep every worker busy until nothing is left; yield the numbers of finished shards."""
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
                    idle = [each for each in idle if each != event.worker]
                else:
                    idle.append(event.worker)
                    if task is None:
                        schedule.ready()
                    else:
                        schedule.done(task)
                        if task.whole:
                            yield task.number
                loading.discard(event.worker)
