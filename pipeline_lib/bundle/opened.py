"""A bundle as a trained system on disk, see ``inference.system_protocol``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline_lib.bundle import format
from pipeline_lib.errors import InputError
from pipeline_lib.experts.checkpoints import digest_of
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.machine import Device, MachineSettings
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.storage.fingerprint import file_digest

LOCAL = f"{format.ENCODERS}/"


@dataclass(frozen=True)
class Bundle:
    """A bundle that was verified.

    Attributes:
        folder: of the bundle
        record: ``bundle.json`` of the present version, without checksums
        machine: devices
        encoders: folder in which checkpoints lie by their names
    """

    folder: Path
    record: dict[str, Any]
    machine: MachineSettings
    encoders: Path

    @classmethod
    def open(cls, folder: Path, device: Device = "cpu", encoders: Path | None = None) -> Self:
        """Return the bundle of a folder, every file of which is verified.

        Args:
            folder: of the bundle
            device: where models run
            encoders: folder in which checkpoints lie that are no part of the bundle; None for the bundle's own

        Raises:
            InputError: see ``format.read``
        """
        record = format.read(folder)
        return cls(folder, record, MachineSettings(device=device), encoders or folder / format.ENCODERS)

    @property
    def models(self) -> Path:
        """Folder of the trained experts and of what rebalancing and fusion fitted."""
        return self.folder / format.MODELS

    @property
    def fusion(self) -> FusionSettings:
        """The section fusion."""
        return FusionSettings.parse(self._system("fusion"), "system.fusion", self.folder / format.RECORD)

    @property
    def transcription(self) -> TranscriptionSettings:
        """The section transcription; whether its checkpoint is there ``check_recogniser`` says."""
        values = dict(self._system("transcription"))
        engine = values["engine"]
        if engine in values and values[engine].get("checkpoint", "").startswith(LOCAL):
            values[engine] = {**values[engine], "checkpoint": str(self._path(values[engine]["checkpoint"]))}
        return TranscriptionSettings.parse(values, "system.transcription", self.folder / format.RECORD)

    @property
    def checkpoints(self) -> Path:
        """Folder that relative paths of experts' checkpoints start from."""
        return self.encoders

    @property
    def n_folds(self) -> int:
        """Number of the members that each fold trained, 0 of a system without folds."""
        return int(self._system("n_folds"))

    def embedding(self, name: str) -> EmbeddingSettings:
        """Return an entry of embedding whose checkpoint holds from the current folder.

        Args:
            name: of the entry

        Raises:
            InputError: the checkpoint is not there, or is another one
        """
        path = self.folder / format.RECORD
        settings = EmbeddingSettings.parse(self._system("embedding")[name], f"system.embedding.{name}", path)
        if settings.expert is not None:
            return settings.model_copy(update={"expert": str(self.folder / settings.expert)})
        assert settings.encoder is not None
        if not settings.encoder.checkpoint.startswith(LOCAL):
            return settings
        found = str(self.required(settings.encoder.checkpoint))
        return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"checkpoint": found})})

    def batch_size(self, name: str) -> int:
        """Return how many utterances an expert predicts at once."""
        return int(self._system("batch_sizes")[name])

    def fitted_to(self, name: str) -> dict[str, Any] | None:
        """Return of an entry of embedding what back ends that read it depend on, None where it was not known."""
        values: dict[str, Any] | None = self._system("fitted_to")[name]
        return values

    def check_recogniser(self) -> None:
        """Refuse a recogniser whose checkpoint is not there, or is another one than was packed.

        Raises:
            InputError: as above
        """
        values = self._system("transcription")
        checkpoint = values.get(values["engine"], {}).get("checkpoint", "")
        if checkpoint.startswith(LOCAL):
            self.required(checkpoint)

    def required(self, checkpoint: str) -> Path:
        """Return the path of a checkpoint that the bundle calls by a local name.

        Args:
            checkpoint: ``encoders/<name>``

        Raises:
            InputError: there is none of that name, or it has other files than the one that was packed
        """
        path, name = self._path(checkpoint), checkpoint.removeprefix(LOCAL)
        if not path.exists():
            never = name.endswith(".nemo")  # an archive that holds a pickle
            otherwise = "give the recording's text" if never else "pack the bundle with --with-encoders"
            raise InputError(
                f"the checkpoint {name!r} is no part of {self.folder} and not in {self.encoders}: copy it there, name"
                f" the folder that holds it by encoders, or {otherwise}"
            )
        known = self.record["encoders"][name]
        same = file_digest(path) == known["sha256"] if path.is_file() else digest_of(path) == known.get("digest")
        if not same:
            raise InputError(
                f"{path} has other content than the checkpoint {name!r} that the system was trained with; restore it"
            )
        return path

    def _path(self, checkpoint: str) -> Path:
        return self.encoders / checkpoint.removeprefix(LOCAL)

    def _system(self, key: str) -> Any:
        try:
            return self.record["system"][key]
        except (KeyError, TypeError):
            raise InputError(f"{self.folder / format.RECORD} has no system.{key}; pack the bundle again") from None
