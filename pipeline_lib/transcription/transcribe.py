"""Transcribe every utterance of a manifest with the engine that params.yaml names.

Work is kept in shards of utterances of like length (see ``shards.store``): what an interrupted run heard is not heard
again. Only the engine named ``reference`` needs no audio; under any other an utterance without audio, of a corpus in
which others have some, gets its human text or none, as ``transcription.without_audio`` says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib import audio
from pipeline_lib.errors import InputError
from pipeline_lib.params.machine import TRANSCRIPTION, TranscriptionMachine
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.shards import store
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.transcription.job import TranscriptionJob
from pipeline_lib.transcription.recognition import Engine, Recognizer, load
from pipeline_lib.transcription.reference import human_texts, or_empty

LIBRARIES = {"canary": ("nemo_toolkit", "torch"), "whisper": ("transformers", "torch")}


@dataclass(frozen=True)
class Transcription:
    """Every utterance's text, in the manifest's order, and where they come from.

    Attributes:
        texts: empty where there is none
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
    make: Callable[[TranscriptionSettings], Engine] | None = None,
    *,
    machine: TranscriptionMachine = TRANSCRIPTION,
) -> Transcription:
    """Return the texts of all utterances.

    Args:
        manifest: what to transcribe
        root: folder that the manifest's audio paths start from
        settings: engine and options
        work: where unfinished shards live
        make: loads the engine, called only when something is left to hear, by every worker where there are any; None
            loads the one that the settings name
        machine: device and executor

    Raises:
        InputError: no utterance has audio (one has no human text for ``reference``), a file has changed since the
            corpus was read, or the checkpoint cannot be had
    """
    if settings.engine == "reference":
        texts, said = human_texts(manifest, settings.reference), settings.reference.model_dump()
        return Transcription(texts, "reference", manifest.corpus, said, work / "reference")
    rows = np.flatnonzero(manifest.has_audio)
    _refuse_text_only(manifest, settings.engine)
    options = getattr(settings, settings.engine)
    by_length = store.by_length(manifest.frame["duration_s"].to_numpy()[rows], settings.shard_size, options.batch_size)
    plan = [rows[places].tolist() for places in by_length]
    decoding = {**options.model_dump(), "strategy": "greedy", "silence_dbfs": settings.silence_dbfs}
    checkpoint = decoding.pop("checkpoint")
    if Path(checkpoint).exists():
        decoding["checkpoint_sha256"] = store.file_digest(Path(checkpoint))
    content = segments.content(manifest)
    inputs = [[manifest.ids[row], *content[row]] for row in rows]
    code = store.code_digest(Path(__file__).parent, audio, segments, store)
    versions = {name: version(name) for name in LIBRARIES[settings.engine]}
    folder = work / store.fingerprint(settings.engine, checkpoint, decoding, inputs, plan, code, versions)
    make = make or partial(load, device=machine.device)
    job = TranscriptionJob(settings, segments.of(manifest, root), manifest.ids.tolist(), machine.device, make)
    listener, executor = job.listener(), machine.executor
    texts = np.full(len(manifest), None, dtype=object)
    texts[~manifest.has_audio] = _without_audio(manifest, settings, decoding)
    hear = partial(job.hear, listener)
    for table in store.run_shards(folder, plan, hear, "transcribing", job=job, executor=executor):
        texts[table.column("row").to_numpy()] = table.column("text").to_pylist()
    _say_speed(listener)
    return Transcription(texts.tolist(), settings.engine, checkpoint, decoding, folder)


def _refuse_text_only(manifest: Manifest, engine: str) -> None:
    """Refuse a corpus of which no utterance has audio.

    Raises:
        InputError: it is one
    """
    if not manifest.has_audio.any():
        raise InputError(
            f"none of the {len(manifest)} utterances of {manifest.corpus} has audio; transcription.engine {engine!r}"
            " needs it (a text-only corpus has engine 'reference')"
        )


def _without_audio(manifest: Manifest, settings: TranscriptionSettings, decoding: dict[str, Any]) -> list[str]:
    """Return the texts of utterances without audio, print how many there are, and note it among the options."""
    if manifest.has_audio.all():
        return []
    decoding["without_audio"] = settings.without_audio
    human = or_empty(manifest.frame["reference_text"][~manifest.has_audio])
    texts = human if settings.without_audio == "reference" else [""] * len(human)
    given = f"{sum(map(bool, texts))} of their transcripts are the human text, {texts.count('')} are empty"
    print(segments.missing_message(manifest, f"{given} (transcription.without_audio is {settings.without_audio!r})"))
    return texts


def _say_speed(listener: Recognizer) -> None:
    """Print how fast it went in this process; the numbers differ from run to run and so stand in no output."""
    if listener.spent_s > 0:
        factor = listener.spent_s / max(listener.transcribed_s, 1e-9)
        print(
            f"{listener.heard_s:.0f} s of audio transcribed in {listener.spent_s:.1f} s"
            f" (real-time factor {factor:.3f}, loading the model left out)"
        )
