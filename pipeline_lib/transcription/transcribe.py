"""Transcribe every utterance of a manifest with the engine that params.yaml names.

A transcript is cached by the sound (``shards.items``) and computed in shards of recordings of similar length: neither a
resumed run nor one with other labels transcribes any of them again. Only the engine ``reference`` needs no audio; under
any other an utterance without audio, of a corpus in which others have some, gets its reference transcript or none, by
``transcription.without_audio``.
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
from pipeline_lib.shards import batches, items, store
from pipeline_lib.storage.fingerprint import code_digest, file_digest, fingerprint
from pipeline_lib.tables import segments
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.origin import NO_MODEL, Origin
from pipeline_lib.transcription.hub import commit_of
from pipeline_lib.transcription.job import TranscriptionJob
from pipeline_lib.transcription.recognition import Engine, Recognizer, kind_of, load
from pipeline_lib.transcription.reference import reference_transcripts, single_spaced

LIBRARIES = {"canary": ("nemo_toolkit", "torch"), "whisper": ("transformers", "torch")}


@dataclass(frozen=True)
class Transcription:
    """Every utterance's transcript, in the manifest's order, and its origin.

    Attributes:
        texts: empty where there is none
        engine: its name
        checkpoint: name or path; the corpus's name for reference transcripts
        decoding: the options that the texts depend on
        origin: device and precision of the recogniser, none for reference transcripts
    """

    texts: list[str]
    engine: str
    checkpoint: str
    decoding: dict[str, Any]
    origin: Origin = NO_MODEL


def transcribe(
    manifest: Manifest,
    root: Path,
    settings: TranscriptionSettings,
    work: Path,
    make: Callable[[TranscriptionSettings], Engine] | None = None,
    *,
    machine: TranscriptionMachine = TRANSCRIPTION,
) -> Transcription:
    """Return the transcripts of all utterances.

    Args:
        manifest: the utterances
        root: folder that the manifest's audio paths start from
        settings: engine and options
        work: folder of unfinished shards and of the cache, ``work/``
        make: loads the engine, called only when a recording is left to transcribe; by every worker where there are any;
            None loads the one that the settings name
        machine: device and executor

    Raises:
        InputError: no utterance has audio (one has no reference transcript, for ``reference``), a file has changed
            since the corpus was read, or the checkpoint is not available
    """
    if settings.engine == "reference":
        references, decoding = reference_transcripts(manifest, settings.reference), settings.reference.model_dump()
        return Transcription(references, "reference", manifest.corpus, decoding)
    rows = np.flatnonzero(manifest.has_audio)
    _refuse_text_only(manifest, settings.engine)
    options = getattr(settings, settings.engine)
    decoding = {**options.model_dump(), "strategy": "greedy", "silence_dbfs": settings.silence_dbfs}
    checkpoint = decoding.pop("checkpoint")
    if Path(checkpoint).exists():
        decoding["checkpoint_sha256"] = file_digest(Path(checkpoint))
    dependencies = _dependencies(settings.engine, checkpoint, decoding, machine)
    make = make or partial(load, device=machine.device)
    job = TranscriptionJob(settings, segments.of(manifest, root), manifest.ids.tolist(), machine.device, make)
    recognizer = job.recognizer()
    texts = np.full(len(manifest), None, dtype=object)
    texts[~manifest.has_audio] = _without_audio(manifest, settings, decoding)
    content, durations = segments.content(manifest), manifest.frame["duration_s"].to_numpy()
    keys = dict(zip(rows.tolist(), items.keys_of([content[row] for row in rows]), strict=True))

    def shards(missing: list[int]) -> store.Plan:
        plan = store.by_length(durations[missing], settings.shard_size, options.batch_size)
        return [[missing[i] for i in shard] for shard in plan]

    given = (work, "transcription", dependencies, keys, shards, partial(job.transcribe, recognizer), "transcribing")
    with items.computed(*given, job=job, executor=machine.executor) as packs:
        texts[rows] = packs.take(list(keys.values())).column("text").to_pylist()
    _print_speed(recognizer)
    return Transcription(texts.tolist(), settings.engine, checkpoint, decoding, packs.origin)


def _dependencies(engine: str, checkpoint: str, decoding: dict[str, Any], machine: TranscriptionMachine) -> str:
    """Return the fingerprint of all that a transcript depends on but the sound."""
    options = {name: value for name, value in decoding.items() if name != "batch_size"}
    weights = None if "checkpoint_sha256" in decoding else [checkpoint, commit_of(checkpoint, decoding["revision"])]
    device = machine.device if machine.executor.is_remote else kind_of(machine.device)
    code = code_digest(Path(__file__).parent, audio, segments, items, batches)
    versions = {name: version(name) for name in LIBRARIES[engine]}
    return fingerprint(engine, weights, options, device, code, versions)


def _refuse_text_only(manifest: Manifest, engine: str) -> None:
    """Refuse a corpus of which no utterance has audio.

    Raises:
        InputError: no utterance has
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
    references = single_spaced(manifest.frame["reference_text"][~manifest.has_audio])
    texts = references if settings.without_audio == "reference" else [""] * len(references)
    counts = f"{sum(map(bool, texts))} get their reference transcript, {texts.count('')} an empty one"
    print(segments.missing_message(manifest, f"{counts} (transcription.without_audio is {settings.without_audio!r})"))
    return texts


def _print_speed(recognizer: Recognizer) -> None:
    """Print the speed in this process; it differs from run to run and is therefore not stored."""
    if recognizer.spent_s > 0:
        factor = recognizer.spent_s / max(recognizer.transcribed_s, 1e-9)
        print(
            f"{recognizer.transcribed_s:.0f} s of audio transcribed in {recognizer.spent_s:.1f} s"
            f" (real-time factor {factor:.3f}, loading the model left out)"
        )
