"""Transcribe every utterance of a manifest with the engine that params.yaml names.

Work is kept in shards of utterances of like length (see ``shards.store``): what an interrupted run heard is not heard
again. Only the engine named ``reference`` needs no audio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib import audio, containers
from pipeline_lib.errors import InputError
from pipeline_lib.shards import store
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.transcription.job import TranscriptionJob
from pipeline_lib.transcription.listening import Engine, Listener, load
from pipeline_lib.transcription.reference import human_texts
from pipeline_lib.transcription.settings import TranscriptionSettings

LIBRARIES = {"canary": ("nemo_toolkit", "torch"), "whisper": ("transformers", "torch")}


@dataclass(frozen=True)
class Heard:
    """Every utterance's text, in the manifest's order, and where they come from.

    Attributes:
        texts: empty where nothing was heard
        engine: its name
        checkpoint: name or path; the corpus's name for human texts
        decoding: the options that the texts depend on
        folder: the shards, to be discarded once the texts are in place
    """

    texts: list[str]
    engine: str
    checkpoint: str
    decoding: dict[str, Any]
    folder: Path


def transcribe(
    manifest: Manifest,
    root: Path,
    settings: TranscriptionSettings,
    work: Path,
    make: Callable[[TranscriptionSettings], Engine] = load,
) -> Heard:
    """Return the texts of all utterances.

    Args:
        manifest: what to transcribe
        root: folder that the manifest's audio paths start from
        settings: engine and options
        work: where unfinished shards live
        make: loads the engine, called only when something is left to hear; by every worker where there are any

    Raises:
        InputError: an utterance has no audio (no human text for ``reference``), a file has changed since the corpus
            was read, or the checkpoint cannot be had
    """
    if settings.engine == "reference":
        texts, said = human_texts(manifest, settings.reference), settings.reference.model_dump()
        return Heard(texts, "reference", manifest.corpus, said, work / "reference")
    paths = _paths(manifest, root, settings.engine)
    options = getattr(settings, settings.engine)
    plan = store.by_length(manifest.frame["duration_s"].tolist(), settings.shard_size, options.batch_size)
    decoding = {**options.model_dump(), "strategy": "greedy", "silence_dbfs": settings.silence_dbfs}
    checkpoint = decoding.pop("checkpoint")
    if Path(checkpoint).exists():
        decoding["checkpoint_sha256"] = store.file_digest(Path(checkpoint))
    heard = manifest.frame[["utterance_id", "audio_sha256"]].to_numpy(dtype=object).tolist()
    code = store.code_digest(Path(__file__).parent, audio, containers, store)
    versions = {name: version(name) for name in LIBRARIES[settings.engine]}
    folder = work / store.fingerprint(settings.engine, checkpoint, decoding, heard, plan, code, versions)
    job = TranscriptionJob(settings, paths, manifest.ids.tolist(), make)
    listener, executor = job.listener(), settings.executor
    texts = np.full(len(manifest), None, dtype=object)
    hear = partial(job.hear, listener)
    for table in store.run_shards(folder, plan, hear, "transcribing", job=job, executor=executor):
        texts[table.column("row").to_numpy()] = table.column("text").to_pylist()
    _say_speed(listener)
    return Heard(texts.tolist(), settings.engine, checkpoint, decoding, folder)


def _paths(manifest: Manifest, root: Path, engine: str) -> list[Path]:
    """Return every utterance's file.

    Raises:
        InputError: an utterance has none
    """
    files = manifest.frame["audio"].tolist()
    without = [each for each, file in zip(manifest.ids, files, strict=True) if file is None]
    if without:
        raise InputError(
            f"{len(without)} of {len(files)} utterances of {manifest.corpus} have no audio, {without[0]!r} first;"
            f" transcription.engine {engine!r} needs it (a text-only corpus has engine 'reference')"
        )
    return [audio.resolve_under(root, file) for file in files]


def _say_speed(listener: Listener) -> None:
    """Print how fast it went in this process; the numbers differ from run to run and so stand in no output."""
    if listener.spent_s > 0:
        factor = listener.spent_s / max(listener.heard_s, 1e-9)
        print(
            f"{listener.heard_s:.0f} s of audio transcribed in {listener.spent_s:.1f} s"
            f" (real-time factor {factor:.3f}, loading the model left out)"
        )
