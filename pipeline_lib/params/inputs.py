"""What each entry reads beyond the tables that its stage always reads, held against its ``after`` slots.

DVC cannot template a list of dependencies, so an entry has three fixed slots; a file that is read but stands in none
of them, nor inside a folder that does, would be replaced without the entry running again.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline_lib.params.base import FILLER, AfterSettings, Settings
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params

TRANSCRIPTS = "data/transcripts.parquet"
Part = EmbeddingSettings | FinetuningSettings | BranchSettings  # each has an encoder, or takes one of an expert


def made_by_stages(params: Params) -> set[str]:
    """Return every file and folder that the stages of these parameters write."""
    return {
        FILLER,
        "data/quarantine.parquet",
        TRANSCRIPTS,
        "data/fused.parquet",
        "data/fused_crossfitted.parquet",
        *(f"data/demonstration/{name}" for name in params.demonstration),
        *(f"data/embeddings/{name}" for name in params.embedding),
        *(f"models/{name}" for name in params.finetuning),
        *(f"data/predictions/{name}.parquet" for name in params.finetuning),
        *(
            f"data/predictions_alone/{name}/{modality}.parquet"
            for name, expert in params.finetuning.items()
            if expert.is_joint
            for modality in ("audio", "text")
        ),
        *(f"data/rebalanced/{name}.parquet" for name in params.rebalancing),
    }


def is_local(checkpoint: str) -> bool:
    """Return whether a checkpoint is a path; ``facebook/w2v-bert-2.0`` is a name on the hub."""
    return checkpoint.startswith(("/", "./", "../", "models/", "data/")) or Path(checkpoint).exists()


def entries_with_slots(params: Params) -> Iterator[tuple[str, AfterSettings, set[str]]]:
    """Yield each entry that has ``after``: its dotted name, its slots and what it reads through them."""
    transcription = params.transcription
    chosen = getattr(transcription, transcription.engine)
    yield "transcription", transcription.after, _local_checkpoints(chosen)
    for name, embedding in params.embedding.items():
        reads = _local_checkpoints(embedding.encoder) | ({embedding.expert} if embedding.expert else set())
        yield f"embedding.{name}", embedding.after, reads | _text(embedding)
    for name, expert in params.finetuning.items():
        yield f"finetuning.{name}", expert.after, _encoders(expert) | _text(expert) | set(_sounds(expert).values())


def parts_with_encoder(params: Params) -> Iterator[tuple[str, Part]]:
    """Yield what holds an encoder, with its dotted name: embeddings, experts, branches of joint experts."""
    for name, embedding in params.embedding.items():
        yield f"embedding.{name}", embedding
    for name, expert in params.finetuning.items():
        if expert.branches is None:
            yield f"finetuning.{name}", expert
        else:
            yield from ((f"finetuning.{name}.branches.{each}", branch) for each, branch in expert.branches.items())


def checkpoint_of(part: Part, params: Params) -> tuple[str, str | None]:
    """Return what an encoder is loaded from and its revision: a checkpoint, or what the expert is tuned from.

    An expert that no entry trains is a folder, which is returned.
    """
    if part.encoder is not None:
        return part.encoder.checkpoint, part.encoder.revision
    trained = {f"models/{name}": expert for name, expert in params.finetuning.items()}.get(part.expert)
    if trained is None or trained.encoder is None:
        return part.expert, None
    return trained.encoder.checkpoint, trained.encoder.revision


def slots_missing(params: Params) -> list[str]:
    """Return, a line each, what an entry reads without naming it in ``after``."""
    mistakes = []
    for where, slots, reads in entries_with_slots(params):
        named = {slots.a, slots.b, slots.c}
        room = f"put it in place of {FILLER!r}" if FILLER in named else "all are taken: name a folder that holds two"
        mistakes += [
            f"{where} reads {path!r}, which stands in none of {where}.after, so its change would go unseen; {room}"
            for path in sorted(reads)
            if not any(_covers(slot, path) for slot in named)
        ]
    return mistakes


def slots_idle(params: Params) -> list[str]:
    """Return, a line each, what ``after`` names although the entry does not read it."""
    return [
        f"{where} does not read {path!r}"
        for where, slots, reads in entries_with_slots(params)
        for path in sorted({slots.a, slots.b, slots.c} - {FILLER})
        if not any(_covers(path, read) for read in reads)
    ]


def missing_checkpoints(params: Params) -> list[str]:
    """Return, a line each, the local files and folders that are read but neither exist nor are made by a stage."""
    known = made_by_stages(params) | {path for each in params.finetuning.values() for path in _sounds(each).values()}
    return [
        f"{where} reads {path!r}, which does not exist and which no stage makes"
        for where, slots, reads in entries_with_slots(params)
        for path in sorted(reads | {slots.a, slots.b, slots.c})
        if not any(_covers(path, each) for each in known) and is_local(path) and not Path(path).exists()
    ]


def missing_sounds(params: Params) -> list[str]:
    """Return, a line each, the folders of noise and of room impulse responses that are not there."""
    return [
        f"finetuning.{name}.augmentation.{kind}.root is {path!r}, which is not a folder"
        for name, expert in params.finetuning.items()
        for kind, path in _sounds(expert).items()
        if not Path(path).is_dir()
    ]


def unsupported_language(params: Params) -> list[str]:
    """Return, in a line, the code of a language that a local Whisper does not transcribe.

    A file that is malformed is refused by the stage.
    """
    asked = params.transcription.whisper
    file = Path(asked.checkpoint) / "generation_config.json"
    if params.transcription.engine != "whisper" or asked.language is None or not file.is_file():
        return []
    try:
        known = sorted(token[2:-2] for token in json.loads(file.read_bytes()).get("lang_to_id") or {}) or ["en"]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    named = asked.language.lower()
    is_heard = named in (("en", "english") if known == ["en"] else known)
    return [] if is_heard or (len(named) > 2 and known != ["en"]) else [asked.unsupported(known)]


def _covers(slot: str, path: str) -> bool:
    """Return whether what a slot names is the path or a folder that holds it."""
    return Path(path).is_relative_to(slot)


def _local_checkpoints(settings: Settings | None) -> set[str]:
    checkpoint = getattr(settings, "checkpoint", None)
    return {checkpoint} if checkpoint and is_local(checkpoint) else set()


def _encoders(expert: FinetuningSettings) -> set[str]:
    """Return the local checkpoints and the experts that encoders are taken from, and embeddings of their frames."""
    if expert.branches is None:
        return _local_checkpoints(expert.encoder)
    branches = [branch for _, branch in expert.branches.items()]
    taken = {each for branch in branches for each in (branch.expert, branch.embedding) if each is not None}
    return taken.union(*(_local_checkpoints(branch.encoder) for branch in branches))


def _text(entry: EmbeddingSettings | FinetuningSettings) -> set[str]:
    return {TRANSCRIPTS} if entry.modality != "audio" and entry.text == "transcripts" else set()


def _sounds(expert: FinetuningSettings) -> dict[str, str]:
    """Return the folders that the expert's augmentation reads, by its kind."""
    kinds = {name: getattr(expert.augmentation, name) for name in ("noise", "reverberation")}
    return {name: each.root for name, each in kinds.items() if each.probability > 0 and each.root is not None}
