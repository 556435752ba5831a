"""The sub-section ``executor`` of the long stages: who computes the shards; it changes no byte of what they hold."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings


class SlurmSettings(Settings):
    """What sbatch is asked for, a worker."""

    partition: Annotated[str | None, Field(min_length=1, description="null is the cluster's default")] = None
    time_min: Annotated[int, Field(ge=1, description="minutes; what is unfinished then is submitted again")] = 240
    cpus_per_worker: Annotated[int, Field(ge=1, description="CPU cores")] = 4
    memory_gb: Annotated[float, Field(gt=0, description="memory of the machine, not of the GPU")] = 16.0


class ExecutorSettings(Settings):
    """In this process, or spread over workers."""

    kind: Annotated[
        Literal["local", "ray", "slurm"],
        Field(description="local: processes of this machine; ray: a cluster (RAY_ADDRESS) or this machine; slurm"),
    ] = "local"
    workers: Annotated[int, Field(ge=0, description="each loads the model once; 0 computes in this process")] = 0
    gpus_per_worker: Annotated[
        float, Field(ge=0, description="below 1 several workers share a GPU; without effect where device is cpu")
    ] = 1.0
    max_attempts: Annotated[
        int, Field(ge=1, description="times that a shard may kill its worker before the utterance at fault is searched")
    ] = 3
    slurm: SlurmSettings = SlurmSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "local" and self.workers == 0:
            raise ValueError(f"workers is 0, which is in this process, and kind is {self.kind!r}; expected 1 or more")
        if self.gpus_per_worker > 1 and not self.gpus_per_worker.is_integer():
            raise ValueError(f"gpus_per_worker is {self.gpus_per_worker:g}, above 1 a whole number is expected")
        if self.kind == "slurm" and not self.gpus_per_worker.is_integer():
            raise ValueError(
                f"gpus_per_worker is {self.gpus_per_worker:g}, SLURM gives whole GPUs; expected 0, 1, 2 ..."
            )
        return self

    @property
    def is_remote(self) -> bool:
        """Whether workers may run on another machine than this one."""
        return self.kind != "local"
