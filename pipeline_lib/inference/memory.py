"""A trained system applied to a few recordings in memory; its order of computation is ``run``'s, as of a corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.embedding.job import EmbeddingJob
from pipeline_lib.embedding.pool import stored_as
from pipeline_lib.embedding.source import Source as EmbeddingSource
from pipeline_lib.embedding.source import from_texts
from pipeline_lib.encoders.text import Text
from pipeline_lib.experts.predict import predict_here
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.experts.utterances import has_words, in_context
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.inference.experts import Inputs, folder_of
from pipeline_lib.inference.loaded import Models
from pipeline_lib.inference.members import Member, members_of
from pipeline_lib.inference.run import FUSED, Run, expert_of, relative
from pipeline_lib.inference.waveforms import Waveforms, seconds
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.rebalancing.source import Layers, Source, of_predictions
from pipeline_lib.tables.fold_names import name_of
from pipeline_lib.tables.manifest import SCHEMA, Manifest
from pipeline_lib.tables.predictions import Predictions


def manifest_of(
    waveforms: Sequence[np.ndarray | None], texts: Sequence[str | None], folds: Sequence[int | None]
) -> Manifest:
    """Return recordings as a corpus, named by their number; each is a dialogue of its own.

    Args:
        waveforms: one a recording, 16 kHz, each of shape ``(n_samples,)``, None where there is text alone
        texts: that were given, one a recording
        folds: one a recording, see ``Recording``
    """
    n = len(waveforms)
    ids = [f"{number:09d}" for number in range(n)]
    frame = pd.DataFrame({name: pd.Series([None] * n, dtype=object) for name in SCHEMA.names})
    frame = frame.assign(
        utterance_id=pd.Series(ids, dtype=object),
        audio=pd.Series([None if w is None else name for name, w in zip(ids, waveforms)], dtype=object),
        duration_s=[seconds(waveform) for waveform in waveforms],
        start_s=np.nan,
        end_s=np.nan,
        split="recordings",
        subsets=pd.Series([[] if fold is None else [name_of(fold)] for fold in folds], dtype=object),
        reference_text=pd.Series(list(texts), dtype=object),
        dialogue=pd.Series(ids, dtype=object),
        turn=0,
    )
    return Manifest(frame, "the recordings", ())


class MemoryRun(Run):
    """One application of a system to recordings, its tables in memory.

    Args:
        models: of the system
        manifest: of the recordings, see ``manifest_of``
        waveforms: one a recording, 16 kHz, each of shape ``(n_samples,)``, None where there is text alone
        transcripts: recognised or given, one a recording, None where there is none
    """

    def __init__(
        self,
        models: Models,
        manifest: Manifest,
        waveforms: Sequence[np.ndarray | None],
        transcripts: Sequence[str | None],
    ) -> None:
        super().__init__(models.system, manifest, members_of(models.system, manifest, named=False))
        self.loaded, self.waveforms, self.transcripts = models, list(waveforms), list(transcripts)
        self.tables: dict[str, Predictions] = {}
        self.layers: dict[str, tuple[np.ndarray, dict[int, np.ndarray]]] = {}

    def fused(self) -> Predictions:
        """Return the fused table; each expert's is ``rebalanced/<entry>.parquet`` of ``tables``."""
        self.make([f"data/rebalanced/{name}.parquet" for name in self.project.fusion.experts])
        return self.tables[relative(FUSED)]

    def embed(self, name: str) -> None:
        """Compute the layers of an entry of embedding that are read, of the recordings that have its modality."""
        settings, layers = self.loaded.embeddings[name], self.loaded.layers[name]
        given: Sequence[Any] = self.waveforms
        if settings.modality == "text":
            given = self._texts(settings.text, settings.context)
        rows = [row for row, part in enumerate(given) if part is not None]
        ids, parts = self.manifest.ids[rows], [given[row] for row in rows]
        if parts:
            self.layers[name] = ids, self._embedded(name, ids.tolist(), parts)
        else:
            width = self.loaded.encoders[name].width * (2 if settings.pooling == "mean_std" else 1)
            self.layers[name] = ids, {layer: np.zeros((0, width), np.float32) for layer in layers}

    def _embedded(self, name: str, ids: list[str], parts: list[Any]) -> dict[int, np.ndarray]:
        """Return layers of waveforms or texts, as the stage embedding stores and reads them, ``(n, width)`` each."""
        settings, encoder, layers = self.loaded.embeddings[name], self.loaded.encoders[name], self.loaded.layers[name]
        if settings.modality == "audio":
            read = Waveforms.of(parts).fitted(encoder)
            source = EmbeddingSource(read, read.lengths.tolist(), [1] * len(parts), [None] * len(parts))
        else:
            source = from_texts(parts, encoder)
        device = next((weights.device for weights in encoder.parameters()), self.loaded.device)
        job = EmbeddingJob(settings, device.type, layers, source, ids, self.project.machine.embedding.workers)
        table, dtype = job.embedding_with(encoder, device)(list(range(len(parts)))), stored_as(encoder)
        columns = {layer: table.column(f"vector_{layer}") for layer in layers}
        stacked = {k: np.stack([np.frombuffer(v.as_buffer(), dtype) for v in column]) for k, column in columns.items()}
        return {layer: values.astype(np.float32) for layer, values in stacked.items()}

    def predict(self, name: str, member: Member, stems: Mapping[str, str], by_member: bool) -> None:
        """Keep what one member's expert predicts, nothing of a recording that lacks its modalities.

        Args:
            name: of the expert
            member: of the system
            stems: of the tables by combination of modalities, ``both`` among them
            by_member: whether the member predicts its own utterances alone
        """
        expert = self.loaded.experts[folder_of(self.project, name, member)]
        rows = self._present(expert.settings) & (member.rows if by_member else True)
        if not rows.any():
            tables = dict.fromkeys(stems, _nothing(name, expert.settings))
        else:
            inputs = Inputs(self.manifest, Path(), self.transcripts, by_member)
            utterances = inputs.of(member, expert.settings)
            readers = dict(utterances.read.readers)
            if "audio" in readers:
                readers["audio"] = Waveforms.of(self.waveforms)
            tables = predict_here(
                expert,
                replace(utterances, read=replace(utterances.read, readers=readers)),
                list(stems),
                batch_size=self.project.batch_size(name),
                machine=self.project.machine.finetuning,
                name=name,
            )
        for combination, stem in stems.items():
            self.write(member.table(stem), tables[combination])

    def source(self, model: rebalancing.Model) -> Source:
        """Return what an entry of rebalancing reads: an expert's predictions, or layers."""
        path = model.settings.reads.source
        if model.settings.source is None:
            expert_of(path)
            return of_predictions(self.read(relative(path)))
        ids, layers = self.layers[Path(path).name]

        def vectors(together: Layers) -> np.ndarray:
            total = np.zeros((len(ids), next(iter(layers.values())).shape[1]))
            for layer in together:
                total += layers[layer]
            return total / len(together)

        return Source(Predictions(ids, model.name), vectors, tuple(layers))

    def rebalanced(self, model: rebalancing.Model) -> Predictions:
        """Return the table that a model of rebalancing makes of what it reads, an empty one of nothing."""
        source = self.source(model)
        return rebalancing.apply(model, source) if len(source.predictions) else _nothing_rebalanced(model, source)

    def write(self, path: str, table: Predictions) -> None:
        """Keep a table.

        Args:
            path: below ``data/``
            table: under that path
        """
        self.tables[path] = table

    def read(self, path: str) -> Predictions:
        """Return a table."""
        return self.tables[path]

    def model_of(self, folder: Path) -> rebalancing.Model:
        """Return the model of an entry of rebalancing."""
        return self.loaded.model_of(folder)

    def fusion_of(self, folder: Path) -> Loaded:
        """Return a fitted fusion."""
        return self.loaded.fusion_of(folder)

    def _texts(self, kind: str, context: int) -> list[Text | None]:
        own = self.transcripts if kind == "transcripts" else self.manifest.frame["reference_text"].tolist()
        return [*in_context(self.manifest, own, own, context)] if context else [*own]

    def _present(self, settings: ExpertSettings) -> np.ndarray:
        """Return which recordings have any of an expert's modalities, bool, shape ``(n,)``."""
        present = np.zeros(len(self.manifest), dtype=bool)
        if "audio" in settings.modalities:
            present |= self.manifest.has_audio
        if "text" in settings.modalities:
            texts = self.transcripts if settings.text == "transcripts" else self.manifest.frame["reference_text"]
            alone = len(settings.modalities) == 1
            present |= np.array([text is not None and (alone or has_words(text)) for text in texts])
        return present


def _nothing(name: str, settings: ExpertSettings) -> Predictions:
    """Return an expert's predictions of no utterance."""
    return Predictions(
        np.array([], dtype=object),
        name,
        labels=tuple(settings.labels),
        posterior=np.zeros((0, len(settings.labels))) if settings.labels else None,
        training_prior=None if settings.prior is None else np.array(settings.prior),
        attribute_names=tuple(settings.attributes),
        attributes=np.zeros((0, len(settings.attributes))) if settings.attributes else None,
        embedding=np.zeros((0, 1), np.float32),
        provenance=settings.provenance(name),
    )


def _nothing_rebalanced(model: rebalancing.Model, source: Source) -> Predictions:
    """Return the table of an entry whose source has no utterance."""
    table = replace(source.predictions, expert=model.name, embedding=None, provenance=model.provenance)
    if model.regressions:
        names = tuple(next(iter(model.regressions.values())))
        table = replace(table, attribute_names=names, attributes=np.zeros((0, len(names))))
    if not model.back_ends and table.posterior is None:
        return table
    prior = model.training_prior if model.target_prior is None else model.target_prior
    return replace(table, labels=model.labels, posterior=np.zeros((0, len(model.labels))), training_prior=prior)
