"""The models of a trained system in memory."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline_lib.command import EXTRAS
from pipeline_lib.embedding.job import load
from pipeline_lib.embedding.pool import stored_as
from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.outputs import repeatable
from pipeline_lib.experts.predict import Expert
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.fusion import model as fusions
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.inference.experts import folder_of
from pipeline_lib.inference.members import Member
from pipeline_lib.inference.project import refuse_other
from pipeline_lib.inference.run import sources_of
from pipeline_lib.inference.system_protocol import System
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.rebalancing.model import Model
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.transcription import recognition
from pipeline_lib.transcription.recognition import Engine, Recognizer


class Transcriber(Recognizer):
    """A recogniser of waveforms in memory."""

    def of_waveforms(self, waveforms: list[np.ndarray]) -> list[str]:
        """Return one text a waveform, in their order.

        Args:
            waveforms: 16 kHz, float32, each of shape ``(n_samples,)``

        Raises:
            InputError: the engine cannot be loaded, or memory does not suffice
        """
        if not waveforms:
            return []  # the engine stays unloaded
        self.load()
        size = self.batch_size
        batches = [waveforms[start : start + size] for start in range(0, len(waveforms), size)]
        return [text for batch in batches for text in self._texts(batch)]


class Models:
    """Everything that a system predicts with, read once.

    Attributes:
        system: on disk
        device: where experts and encoders are
        members: of the system, one of a system without folds; their rows are of no use here
        entries: of ``fusion.experts``, by folder
        settings: of the experts that are read, by name
        embeddings: of the entries of embedding that are read, by name
        transcriber: of audio without a text, loaded with the first; None where the system reads no transcripts of one
    """

    def __init__(self, system: System) -> None:
        """Read all models but the recogniser's.

        Args:
            system: on disk

        Raises:
            InputError: a file is missing or damaged, a checkpoint cannot be had or is another one than the system was
                fitted on, or the system reads more than recordings and texts
        """
        self.system, self.device = system, pick(system.machine.finetuning.device)
        repeatable(self.device)
        if system.machine.finetuning.threads is not None:
            torch.set_num_threads(system.machine.finetuning.threads)
        numbers = range(system.n_folds) if system.n_folds else [None]
        self.members = [Member(number, np.ones(0, dtype=bool)) for number in numbers]
        self.model_of = cache(rebalancing.read)
        self.fusion_of = cache(fusions.read)
        entries = list(self._entries())
        _refuse_by_speaker(entries)
        embedded, experts = sources_of(entries)
        self.experts: dict[Path, Expert] = {}
        self.settings: dict[str, ExpertSettings] = {}
        for name in experts:
            for member in self.members:
                folder = folder_of(system, name, member)
                expert = Expert(folder, disk.read_settings(folder), disk.load(folder, self.device, system.checkpoints))
                self.experts[folder], self.settings[name] = expert, expert.settings
        self.embeddings = {name: system.embedding(name) for name in embedded}
        self.encoders = {name: self._encoder(name, settings) for name, settings in self.embeddings.items()}
        self.layers = {name: _layers_read(entries, name) for name in embedded}
        self.transcriber = self._transcriber()

    def fitted(self) -> list[Loaded]:
        """Return the fusion of each member."""
        return [self.fusion_of(member.folder(self.system.models / "fusion")) for member in self.members]

    def of_entry(self, name: str) -> list[Model]:
        """Return an entry's models: one a member, or the one where the entry has no folds."""
        folder = self.system.models / "rebalancing" / name
        if not (folder / name_of(0)).is_dir():
            return [self.model_of(folder)]
        return [self.model_of(member.folder(folder)) for member in self.members]

    def _entries(self) -> Iterator[Model]:
        for name in self.system.fusion.experts:
            yield from self.of_entry(name)
        self.fitted()

    def _encoder(self, name: str, settings: EmbeddingSettings) -> Any:
        """Return the encoder of an entry of embedding, refused where the system was fitted on another."""
        encoder: Any
        if settings.expert is not None:
            folder = Path(settings.expert)
            encoder = disk.load_encoder(folder, self.device, settings.modality, self.system.checkpoints)
        else:
            encoder = load(settings, self.device)
        fitted = self.system.fitted_to(name)
        if fitted is not None:
            refuse_other(
                name,
                fitted,
                {
                    "encoder": encoder.signature,
                    "modality": settings.modality,
                    "width": encoder.width,
                    "pooling": settings.pooling,
                    "dtype": stored_as(encoder),
                },
            )
        return encoder

    def _transcriber(self) -> Transcriber | None:
        settings = self.system.transcription
        reads = [expert.text == "transcripts" for expert in self.settings.values() if "text" in expert.modalities]
        reads += [entry.text == "transcripts" for entry in self.embeddings.values() if entry.modality == "text"]
        if settings.engine == "reference" or not any(reads):
            return None
        return Transcriber(settings, self._engine)

    def _engine(self) -> Engine:
        self.system.check_recogniser()
        try:
            return recognition.load(self.system.transcription, self.system.machine.transcription.device)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise InputError(
                f"{package} is not installed, which recognises the words of a recording without a text: pip install"
                f" 'speech-emotion-pipeline[{EXTRAS[package]}]', or give the text"
            ) from None


def _refuse_by_speaker(entries: list[Model]) -> None:
    """Refuse an entry whose vectors are normalised over all utterances of a speaker, which one recording is not."""
    for entry in entries:
        source = entry.settings.source
        if entry.settings.normalise == "speaker" or (source is not None and source.normalise == "speaker"):
            raise InputError(
                f"rebalancing.{entry.name} normalises by speaker, over all recordings of each, so that it predicts no"
                " single recording; leave it out of fusion.experts, or set its normalise to none (for a whole corpus:"
                " ser evaluate)"
            )


def _layers_read(entries: list[Model], name: str) -> tuple[int, ...]:
    """Return the layers of an entry of embedding that back ends or regressions read, ascending."""
    of_embedding = [entry for entry in entries if entry.settings.reads.source == f"data/embeddings/{name}"]
    read = [layers for entry in of_embedding for layers in (*entry.back_ends, *entry.regressions)]
    return tuple(sorted({layer for layers in read for layer in layers}))
