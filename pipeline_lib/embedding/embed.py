"""Embed every utterance of a manifest with a frozen encoder, or with the encoder of a tuned expert.

What is computed once is cached by sound or text (``shards.items``). Shards are consecutive rows; inside a shard
utterances of like length share a forward pass, where that is faster (``shards.batches.size_on``). Hidden states do not
depend on the batch, see ``encoders``. Layers are written in the order of the identifiers, a part in memory at a time.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pipeline_lib import audio, encoders
from pipeline_lib.embedding import plan
from pipeline_lib.embedding.job import EmbeddingJob, load
from pipeline_lib.embedding.pool import Frames, Vectors, stored_as
from pipeline_lib.embedding.source import from_recordings, from_texts, present
from pipeline_lib.encoders.device import pick
from pipeline_lib.encoders.speech import SpeechEncoder
from pipeline_lib.encoders.text import Text, TextEncoder
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk, readers
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.machine import EMBEDDING, EmbeddingMachine
from pipeline_lib.shards import batches, items
from pipeline_lib.storage.fingerprint import code_digest, file_digest, fingerprint
from pipeline_lib.tables import embeddings, segments
from pipeline_lib.tables.embeddings import Info
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.tables.provenance import Provenance

IRRELEVANT = {"reads", "text", "context", "batch", "shard_size"}  # to the values of an utterance
RESOLVED = {"encoder", "expert", "layers"}  # what they mean is a dependency


def embed(
    manifest: Manifest,
    root: Path,
    texts: Sequence[Text | None] | None,
    settings: EmbeddingSettings,
    out: Path,
    work: Path,
    machine: EmbeddingMachine = EMBEDDING,
) -> None:
    """Write the embedding of all utterances that have the entry's modality.

    Args:
        manifest: the utterances
        root: folder that the manifest's audio paths start from
        texts: one a row, None where an utterance has none; None in place of all for audio. With a context they are
            tuples of the previous turns and the own text
        settings: encoder, layers, pooling and frames
        out: the embedding's folder, replaced whole
        work: folder of unfinished shards and of the cache, ``work/``
        machine: device, threads, executor and the largest output

    Raises:
        InputError: a checkpoint cannot be had, a layer does not exist, the output would be too large, no utterance
            has the modality, memory does not suffice, or float16 cannot hold a value
    """
    has = present(manifest, texts)
    manifest, n_without = keep(manifest, has), int((~has).sum())
    alone = machine.executor.workers == 0
    device = machine.device if machine.executor.is_remote else pick(machine.device).type
    if settings.encoder is not None and settings.encoder.is_functionals:
        device = "cpu"
    encoder = load(settings, torch.device(device if alone else "cpu"))  # with workers its description alone is read
    layers = _chosen(settings, encoder)
    source = (
        from_recordings(manifest, root, encoder)
        if texts is None
        else from_texts((text for text in texts if text is not None), encoder)
    )
    info = _info(settings, encoder, layers, len(manifest), n_without)
    size = np.dtype(info.dtype).itemsize
    sizes = [size * len(layers) * (info.vector_width + info.width * n * info.frames) for n in source.frames]
    plan.refuse_too_large(sizes, machine.limit_gb, len(layers), frames=settings.frames)
    ids = manifest.ids.tolist()
    job = EmbeddingJob(settings, device, layers, source, ids, machine.workers)
    compute = job.embedding_with(encoder, torch.device(device)) if alone else None
    dependencies = _dependencies(settings, encoder, device, layers)
    del encoder
    keys = items.keys_of(source.content)

    def shards(rows: list[int]) -> list[list[int]]:
        return [[rows[i] for i in shard] for shard in plan.shards([sizes[row] for row in rows], settings.shard_size)]

    given = (work, "embedding", dependencies, dict(enumerate(keys)), shards, compute, "embedding")
    with items.computed(*given, job=job, executor=machine.executor) as packs, embeddings.writing(out, info) as writer:
        for rows in shards(list(range(len(ids)))):
            writer.add([ids[row] for row in rows], *_content(packs.take([keys[row] for row in rows]), info))
        writer.origin = packs.origin


def _content(table: pa.Table, info: Info) -> tuple[Vectors, Frames | None]:
    """Return what ``shard`` put into a table as the writer takes it."""

    def arrays(name: str) -> list[np.ndarray]:
        return [np.frombuffer(value.as_buffer(), info.dtype) for value in table.column(name)]

    vectors = {layer: np.stack(arrays(f"vector_{layer}")) for layer in info.layers}
    frames = None
    if info.frames:
        frames = {layer: [x.reshape(-1, info.width) for x in arrays(f"frames_{layer}")] for layer in info.layers}
    return vectors, frames


def _chosen(settings: EmbeddingSettings, encoder: SpeechEncoder | TextEncoder) -> tuple[int, ...]:
    if settings.layers == "all":
        return tuple(range(encoder.n_layers + 1))
    if settings.layers[-1] > encoder.n_layers:
        known = f"{settings.expert or encoder.checkpoint} has layers 0 to {encoder.n_layers}"
        raise InputError(f"layers names {settings.layers[-1]}, {known}")
    return tuple(settings.layers)


def _info(
    settings: EmbeddingSettings, encoder: SpeechEncoder | TextEncoder, layers: tuple[int, ...], n: int, n_without: int
) -> Info:
    return Info(
        encoder=encoder.signature,
        checkpoint=settings.expert or encoder.checkpoint,
        revision=None if settings.expert else encoder.revision,
        modality=settings.modality,
        width=encoder.width,
        frame_rate_hz=getattr(encoder, "frame_rate_hz", None),
        layers=layers,
        pooling=settings.pooling,
        frames=settings.frames,
        n_utterances=n,
        n_without=n_without,
        dtype=stored_as(encoder),
        provenance=_provenance(settings),
    )


def _provenance(settings: EmbeddingSettings) -> Provenance:
    """Return the splits that a stage tuned the encoder on: those of its expert, none of a checkpoint."""
    if settings.expert is None:
        return Provenance()
    folder = Path(settings.expert)
    return disk.read_settings(folder).provenance(folder.name)


def _dependencies(
    settings: EmbeddingSettings, encoder: SpeechEncoder | TextEncoder, device: str, layers: tuple[int, ...]
) -> str:
    """Return the fingerprint of all that an utterance's values depend on but its sound or text."""
    folders = [Path(path) for path in (settings.expert, encoder.checkpoint) if path and Path(path).is_dir()]
    weights = [encoder.signature, encoder.revision, *(file_digest(folder) for folder in folders)]
    options = settings.model_dump(exclude=IRRELEVANT | RESOLVED)
    if settings.encoder is not None:
        local = {"checkpoint"} if folders else set()  # of a folder the digest counts, wherever it lies
        options["encoder"] = settings.encoder.model_dump(exclude=local)
    package = Path(__file__).parent.parent
    tuned = [package / "experts", package / "networks"] if settings.expert else []
    code = code_digest(Path(__file__).parent, encoders, audio, readers, segments, items, batches, *tuned)
    versions = [version(name) for name in ("torch", "transformers", "soxr", "soundfile")]
    return fingerprint(options, layers, weights, device, code, versions)
