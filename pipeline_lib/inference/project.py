"""A project folder as a trained system: its parameters and machine, and paths that start from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import environ
from pathlib import Path
from typing import Any, Self

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, Settings, read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.machine import MACHINE, VARIABLE, MachineSettings, read_machine
from pipeline_lib.params.sections import Params
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.fold_names import name_of

# of embedding.json: what a back end that was fitted on the embedding depends on
FITTED_TO = ("encoder", "revision", "modality", "width", "layers", "pooling", "dtype")


@dataclass(frozen=True)
class Project:
    """A project whose stages have run.

    Attributes:
        folder: of params.yaml, ``models/`` and machine.yaml
        params: params.yaml
        machine: machine.yaml of the folder, or the one that SER_MACHINE names
        cached_in: folder of the cache and of unfinished work, None for ``work/`` of the project
    """

    folder: Path
    params: Params
    machine: MachineSettings
    cached_in: Path | None = None

    @classmethod
    def read(cls, folder: Path, work: Path | None = None) -> Self:
        """Return the project of a folder.

        Args:
            folder: of params.yaml
            work: folder of the cache and of unfinished work, None for that of the project

        Raises:
            InputError: params.yaml or machine.yaml is missing or wrong
        """
        path = folder / PARAMS
        if not path.is_file():
            raise InputError(f"{folder} has no {PARAMS}, expected the folder of a project whose stages have run")
        machine = read_machine(None if environ.get(VARIABLE) else folder / MACHINE)
        return cls(folder, read_all(read_params(path), path), machine, work)

    @property
    def models(self) -> Path:
        """Folder of the trained experts and of what rebalancing and fusion fitted."""
        return self.folder / "models"

    @property
    def work(self) -> Path:
        """Folder of the cache and of unfinished work."""
        return self.folder / "work" if self.cached_in is None else self.cached_in

    @property
    def fusion(self) -> FusionSettings:
        """The section fusion."""
        return self.params.fusion

    @property
    def checkpoints(self) -> None:
        """Folder that relative paths of experts' checkpoints start from: the one that holds ``models/``."""
        return

    def check_recogniser(self) -> None:
        """Check nothing: the engine refuses a checkpoint that is not there."""

    def batch_size(self, name: str) -> int:
        """Return how many utterances an expert predicts at once.

        Raises:
            InputError: params.yaml has no such expert
        """
        entry = self.params.finetuning.get(name)
        if entry is None:
            raise InputError(f"params.yaml of {self.folder} has no entry finetuning.{name}, which the system reads")
        return entry.predict.batch_size

    @property
    def root(self) -> Path:
        """Folder of the corpus that the system was trained on."""
        return Path(self.located(self.params.corpus.root))

    @cached_property
    def n_folds(self) -> int:
        """Number of the members that each fold trained, 0 of a system without folds."""
        if not self.params.fusion.folds:
            return 0
        number = 0
        while (self.models / "fusion" / name_of(number)).is_dir():
            number += 1
        if not number:
            raise InputError(
                f"{self.models / 'fusion'} has no folder {name_of(0)}, and fusion.folds is true; run the stages (dvc"
                " repro)"
            )
        return number

    def located(self, path: str) -> str:
        """Return a path of params.yaml as it is from the current folder; a name on the hub as it is."""
        inside = self.folder / path
        return str(inside) if inside.exists() else path

    def embedding(self, name: str) -> EmbeddingSettings:
        """Return an entry of embedding whose paths hold from the current folder.

        Args:
            name: of the entry

        Raises:
            InputError: there is no such entry
        """
        settings = self.params.embedding.get(name)
        if settings is None:
            raise InputError(f"{self.folder / PARAMS} has no entry embedding.{name}, which the system reads")
        if settings.expert is not None:
            return settings.model_copy(update={"expert": self.located(settings.expert)})
        return settings.model_copy(update={"encoder": self._checkpoint_located(settings.encoder)})

    @property
    def transcription(self) -> TranscriptionSettings:
        """The section transcription whose checkpoint holds from the current folder."""
        settings = self.params.transcription
        if settings.engine == "reference":
            return settings
        chosen = getattr(settings, settings.engine)
        return settings.model_copy(update={settings.engine: self._checkpoint_located(chosen)})

    def check_embedding(self, name: str, made: Path) -> None:
        """Refuse an embedding of another encoder than the one that the system was fitted on.

        Args:
            name: of the entry
            made: folder of the embedding just made

        Raises:
            InputError: the two differ; where the project has no embedding any more nothing can be compared
        """
        fitted, now = self.fitted_to(name), embeddings.read_info(made)
        if fitted is not None:
            refuse_other(name, fitted, {key: getattr(now, key) for key in fitted})

    def fitted_to(self, name: str) -> dict[str, Any] | None:
        """Return of an entry of embedding what back ends that read it depend on, None where it is not there any more.

        Args:
            name: of the entry
        """
        folder = self.folder / "data" / "embeddings" / name
        if not (folder / embeddings.INFO).is_file():
            return None
        info = embeddings.read_info(folder)
        return {key: getattr(info, key) for key in FITTED_TO}

    def _checkpoint_located(self, settings: Any) -> Settings:
        located: Settings = settings.model_copy(update={"checkpoint": self.located(settings.checkpoint)})
        return located


def refuse_other(name: str, fitted: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse an embedding of another encoder than the one that the system was fitted on.

    Args:
        name: of the entry
        fitted: what back ends depend on, as it was
        now: as it is; keys that it lacks are not compared

    Raises:
        InputError: the two differ
    """
    for key, value in fitted.items():
        if key in now and now[key] != value:
            raise InputError(
                f"embedding.{name}: {key} is {now[key]!r}, the system was fitted on {value!r} (params.yaml or the"
                " checkpoint was changed since?); run dvc repro"
            )
