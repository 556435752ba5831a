"""What is read of a trained system on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.machine import MachineSettings
from pipeline_lib.params.transcription import TranscriptionSettings


class System(Protocol):
    """A trained system on disk: the folder of a project, or a bundle."""

    @property
    def folder(self) -> Path:
        """Folder of the system, for messages."""

    @property
    def models(self) -> Path:
        """Folder of the trained experts and of what rebalancing and fusion fitted."""

    @property
    def machine(self) -> MachineSettings:
        """Devices, threads and workers."""

    @property
    def fusion(self) -> FusionSettings:
        """The section fusion."""

    @property
    def transcription(self) -> TranscriptionSettings:
        """The section transcription, whose checkpoint holds from the current folder."""

    @property
    def checkpoints(self) -> Path | None:
        """Folder that relative paths of experts' checkpoints start from, None for the one that holds ``models/``."""

    @property
    def n_folds(self) -> int:
        """Number of the members that each fold trained, 0 of a system without folds."""

    def embedding(self, name: str) -> EmbeddingSettings:
        """Return an entry of embedding, whose checkpoint holds from the current folder."""

    def batch_size(self, name: str) -> int:
        """Return how many utterances an expert predicts at once."""

    def fitted_to(self, name: str) -> Mapping[str, Any] | None:
        """Return of an entry of embedding what back ends that read it depend on, None where it is not known."""

    def check_recogniser(self) -> None:
        """Refuse a recogniser whose checkpoint is not there, before it is loaded."""
