"""machine.yaml: how the work is done, not what: executors, devices, workers, threads, memory, save intervals.

DVC and git do not track it: a change reruns nothing. Where there is no file the defaults hold. A queued experiment runs
in a checkout without untracked files; it finds the file through the environment's SER_MACHINE.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline_lib.params.base import ParameterError, Settings, load_yaml, short
from pipeline_lib.params.executor import ExecutorSettings

MACHINE = Path("machine.yaml")
VARIABLE = "SER_MACHINE"  # the one variable of the environment that is read
SHARED = ("device", "executor")  # for all stages at once, where a stage has none of its own
STAGES = ("transcription", "embedding", "finetuning")

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"], Field(description="where models run; auto is the fastest there is")
]
Count = Annotated[int, Field(ge=1)]
Processes = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Gigabytes = Annotated[float, Field(ge=0)]


class DemonstrationMachine(Settings):
    """How demonstration speech is made."""

    workers: Count = Field(2, description="processes that synthesise; the bytes do not depend on it")


class CorpusMachine(Settings):
    """How recordings are read."""

    workers: Count = Field(2, description="processes that decode; the result does not depend on it")


class TranscriptionMachine(Settings):
    """How a recogniser runs."""

    device: Device = "auto"
    executor: ExecutorSettings = ExecutorSettings()


class EmbeddingMachine(Settings):
    """How an encoder runs."""

    device: Device = "auto"
    workers: Count = Field(1, description="threads that decode and make features ahead")
    limit_gb: Positive = Field(50.0, description="a larger output is refused before the first forward pass")
    executor: ExecutorSettings = ExecutorSettings()


class FinetuningMachine(Settings):
    """How an expert is trained, and how it predicts afterwards."""

    device: Device = "auto"
    workers: Processes = Field(0, description="processes that decode and make features; 0: the training's own")
    threads: Count | None = Field(None, description="CPU threads of the arithmetic; null as torch chooses")
    cache_audio_gb: Gigabytes = Field(1.0, description="keep the decoded training audio in memory where it fits")
    cache_embeddings_gb: Gigabytes = Field(
        16.0, description="with cache_embeddings: keep frozen encoders' frames in memory where they fit in this"
    )
    save_steps: Count | None = Field(None, description="steps between checkpoints inside an epoch")
    save_seconds: Positive | None = Field(600.0, description="or seconds; each epoch ends with one")
    executor: ExecutorSettings = Field(ExecutorSettings(), description="of the prediction after training")


class CacheMachine(Settings):
    """How much of what models gave for single recordings and texts is kept for later runs, in ``work/cache/``."""

    limit_gb: Gigabytes = Field(
        20.0, description="transcripts and layers in all, checked as a stage ends; the longest unused go first; 0: none"
    )


TRANSCRIPTION, EMBEDDING, FINETUNING = TranscriptionMachine(), EmbeddingMachine(), FinetuningMachine()


class MachineSettings(Settings):
    """All of machine.yaml."""

    device: Device = "auto"
    executor: ExecutorSettings = ExecutorSettings()
    cache: CacheMachine = CacheMachine()
    demonstration: DemonstrationMachine = DemonstrationMachine()
    corpus: CorpusMachine = CorpusMachine()
    transcription: TranscriptionMachine = TRANSCRIPTION
    embedding: EmbeddingMachine = EMBEDDING
    finetuning: FinetuningMachine = FINETUNING

    @model_validator(mode="before")
    @classmethod
    def _share(cls, values: Any) -> Any:
        """Give each stage the device and executor of all, where it has none of its own."""
        if not isinstance(values, dict):
            return values
        shared = {name: values[name] for name in SHARED if name in values}
        stages = {name: values.get(name, {}) for name in STAGES}
        return values | {name: shared | own if isinstance(own, dict) else own for name, own in stages.items()}


def read_machine(path: Path | None = None) -> MachineSettings:
    """Return machine.yaml, or the defaults where there is none.

    Args:
        path: the file; None is what SER_MACHINE names, else machine.yaml

    Raises:
        ParameterError: SER_MACHINE names no file, or a key or value is wrong; every mistake is listed
    """
    named = os.environ.get(VARIABLE)
    if path is None and named:
        path = Path(named)
        if not path.is_file():
            raise ParameterError(
                f"the environment has {VARIABLE}={named!r}, which is no file; expected the absolute path of a"
                f" machine.yaml, or unset {VARIABLE}"
            )
    path = MACHINE if path is None else path
    values = load_yaml(path) if path.exists() else {}
    if values is not None and not isinstance(values, dict):
        raise ParameterError(f"{path} is {short(values)}, expected keys such as 'device:' and 'finetuning:'")
    return MachineSettings.parse(values or {}, "", path)
