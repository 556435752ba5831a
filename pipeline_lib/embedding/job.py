"""The job that workers embed by: paths or texts, and settings; a worker loads the encoder for itself."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pipeline_lib.embedding.shard import Shard
from pipeline_lib.embedding.source import Source
from pipeline_lib.encoders.device import Device, pick, precision_of
from pipeline_lib.encoders.load import load_frozen
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.tables.origin import Origin


@dataclass(frozen=True)
class EmbeddingJob:
    """Embeds rows of a manifest.

    Attributes:
        settings: of the entry
        device: auto, cpu, cuda or mps
        layers: numbers of the layers to store
        source: of the inputs, without a model
        ids: every utterance's identifier
        workers: threads that decode and make features ahead
    """

    settings: EmbeddingSettings
    device: Device
    layers: tuple[int, ...]
    source: Source
    ids: list[str]
    workers: int

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the encoder and return a function that embeds rows, see ``embedding_with``."""
        device = pick(self.device)
        return self.embedding_with(load(self.settings, device), device)

    def embedding_with(
        self, encoder: SpeechEncoder | TextEncoder, device: torch.device
    ) -> Callable[[list[int]], pa.Table]:
        """Return a function that embeds rows with an encoder that is loaded.

        Args:
            encoder: frozen, on ``device``
            device: where the encoder is

        Returns:
            row numbers to their table, see ``Shard.__call__``, with device and precision in its metadata
        """
        shard = Shard(encoder, device, self.source, self.settings, self.layers, self.ids, self.workers)
        origin = Origin(device.type, precision_of(encoder.model))

        def compute(rows: list[int]) -> pa.Table:
            with _exact(device):
                return origin.mark(shard(rows))

        return compute


def load(settings: EmbeddingSettings, device: torch.device) -> SpeechEncoder | TextEncoder:
    """Return the encoder that the entry names, frozen.

    Args:
        settings: of the entry, with either an encoder or the folder of an expert
        device: to load it on

    Raises:
        InputError: the checkpoint cannot be loaded, or the expert has no encoder of the entry's modality
    """
    if settings.encoder is not None:
        return load_frozen(settings.encoder, settings.modality, device)
    from pipeline_lib.experts.disk import load_encoder

    return load_encoder(Path(str(settings.expert)), device, settings.modality)


def _exact(device: torch.device) -> Any:
    """Return a context in which CUDA's convolutions are deterministic and not rounded to TF32."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
