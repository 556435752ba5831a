"""One shard: batches of like length, prepared by threads, through the model, into one table."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import torch
from torch import Tensor

from pipeline_lib.embedding import plan
from pipeline_lib.embedding.pool import Frames, Vectors, embed_batch
from pipeline_lib.embedding.source import Source
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.params.embedding import EmbeddingSettings


class Shard:
    """Compute shards; out of memory, batches are halved from there on, with a message; a second time is an error."""

    def __init__(
        self,
        encoder: SpeechEncoder | TextEncoder,
        source: Source,
        settings: EmbeddingSettings,
        layers: tuple[int, ...],
        ids: list[str],
        workers: int,
    ) -> None:
        """Take the encoder and its inputs.

        Args:
            encoder: frozen
            source: of the inputs
            settings: of the entry
            layers: numbers of the layers to store
            ids: of every row of the table
            workers: threads that make inputs ready
        """
        self.encoder, self.source, self.settings, self.layers, self.ids = encoder, source, settings, layers, ids
        self.workers, self.halved = workers, False

    def __call__(self, rows: list[int]) -> pa.Table:
        """Return the rows' table: row numbers, and of each layer float16 values as raw bytes.

        Raises:
            InputError: memory does not suffice for half a batch either, or float16 cannot hold a value
        """
        try:
            return self._compute(rows)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            self._halve(rows)
        return self(rows)

    def _compute(self, rows: list[int]) -> pa.Table:
        vectors: dict[int, Vectors] = {}
        frames: dict[int, Frames] = {}
        batches = self._batches(rows)
        for batch, inputs in _ahead(batches, self._prepare, self.workers):
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
        whole = plan.batches(rows, self.source.lengths, self.settings.batch.size, self.settings.batch.seconds)
        return [half for batch in whole for half in plan.halves(batch)] if self.halved else whole

    def _halve(self, rows: list[int]) -> None:
        first = self._batches(rows)[0]
        if self.halved or len(first) == 1:
            unit = "s" if self.settings.modality == "audio" else "tokens"
            longest = f"the longest is {self.ids[first[0]]!r}, {self.source.lengths[first[0]]:g} {unit}"
            remedy = "lower batch.size or batch.seconds, choose another device, or have the corpus cut long utterances"
            message = f"out of memory {'even ' if self.halved else ''}with {len(first)} utterances a forward pass"
            raise InputError(f"{message}, {longest}; {remedy}")
        self.halved = True
        print(f"out of memory with {len(first)} utterances a forward pass; going on with half as many", file=sys.stderr)
        if next(self.encoder.parameters()).device.type == "cuda":
            torch.cuda.empty_cache()


def _ahead(
    batches: list[list[int]], prepare: Callable[[list[int]], dict[str, Tensor]], workers: int
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Yield each batch with its inputs, which threads make while the model works on the batch before."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(prepare, batch) for batch in batches[: workers + 1]]
        for i, batch in enumerate(batches):
            inputs = waiting.pop(0).result()
            if i + workers + 1 < len(batches):
                waiting.append(pool.submit(prepare, batches[i + workers + 1]))
            yield batch, inputs


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


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
