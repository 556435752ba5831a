"""One shard: batches of like length, prepared by threads, through the model, into one table."""

import pyarrow as pa
import torch
from torch import Tensor

from pipeline_lib.embedding import plan
from pipeline_lib.embedding.pool import Frames, Vectors, embed_batch
from pipeline_lib.embedding.source import Source
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.shards.batches import Halving, ahead, size_on

REMEDY = "lower batch.size or batch.seconds, choose another device, or have the corpus cut long utterances"
REMEDY_OF_ONE = "choose another device, or have the corpus cut long utterances"


class Shard:
    """Compute shards; out of memory, batches are halved from there on, with a message; a second time is an error."""

    def __init__(
        self,
        encoder: SpeechEncoder | TextEncoder,
        device: torch.device,
        source: Source,
        settings: EmbeddingSettings,
        layers: tuple[int, ...],
        ids: list[str],
        workers: int,
    ) -> None:
        """Take the encoder and its inputs.

        Args:
            encoder: frozen
            device: where the encoder is
            source: of the inputs
            settings: of the entry
            layers: numbers of the layers to store
            ids: of every row of the table
            workers: threads that make inputs ready
        """
        self.encoder, self.source, self.settings, self.layers, self.ids = encoder, source, settings, layers, ids
        self.workers, self.halving = workers, Halving(torch.cuda.empty_cache)
        self.batch_size = size_on(device.type, settings.batch.size)

    def __call__(self, rows: list[int]) -> pa.Table:
        """Return the rows' table: row numbers, and of each layer float16 values as raw bytes.

        Raises:
            InputError: memory does not suffice for half a batch either, or float16 cannot hold a value
        """

        def first() -> list[int]:
            return self._batches(rows)[0]

        remedy = REMEDY if self.batch_size > 1 else REMEDY_OF_ONE
        return self.halving.run(
            lambda: self._compute(rows), lambda: len(first()), lambda: self._described(first()), remedy
        )

    def _compute(self, rows: list[int]) -> pa.Table:
        vectors: dict[int, Vectors] = {}
        frames: dict[int, Frames] = {}
        batches = self._batches(rows)
        for batch, inputs in ahead(batches, self._prepare, self.workers):
            vectors[batch[0]], frames[batch[0]] = embed_batch(
                self.encoder,
                inputs,
                [self.ids[row] for row in batch],
                self.layers,
                self.settings.pooling,
                frames=self.settings.frames,
            )
        return _table(rows, batches, vectors, frames)

    def _prepare(self, rows: list[int]) -> dict[str, Tensor]:
        return self.source.prepare(rows, self.encoder)

    def _batches(self, rows: list[int]) -> list[list[int]]:
        whole = plan.batches(rows, self.source.lengths, self.batch_size, self.settings.batch.seconds)
        return [list(part) for batch in whole for part in self.halving.parts(batch)]

    def _described(self, batch: list[int]) -> str:
        """Return a phrase on the batch with the longest utterances, which comes first."""
        unit = "s" if self.settings.modality == "audio" else "tokens"
        longest = f"{self.ids[batch[0]]!r}, {self.source.lengths[batch[0]]:g} {unit}"
        return f"{len(batch)} utterances a forward pass (the longest is {longest})"


def _table(
    rows: list[int], batches: list[list[int]], vectors: dict[int, Vectors], frames: dict[int, Frames]
) -> pa.Table:
    """Return a shard: a row an utterance in the order of ``rows``, columns of every layer, values as raw bytes."""
    position = {row: (batch[0], i) for batch in batches for i, row in enumerate(batch)}
    columns: dict[str, pa.Array] = {"row": pa.array(rows, pa.int64())}
    for layer in vectors[batches[0][0]]:
        values = [vectors[first][layer][i].tobytes() for first, i in (position[row] for row in rows)]
        columns[f"vector_{layer}"] = pa.array(values, pa.binary())
    for layer in frames[batches[0][0]]:
        values = [frames[first][layer][i].tobytes() for first, i in (position[row] for row in rows)]
        columns[f"frames_{layer}"] = pa.array(values, pa.large_binary())
    return pa.table(columns)
