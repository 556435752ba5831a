"""What each entry reads beside the manifest, by role, held against its slots in ``reads``.

DVC cannot template a list of dependencies, so an entry has one slot a role, with the manifest as filler; a file that is
read but stands in no slot would be replaced without the entry running again.
"""

import json
from collections.abc import Container, Iterator
from importlib.util import find_spec
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.modalities import MODALITIES, parts_of
from pipeline_lib.params.base import FILLER, Settings
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.encoder import FUNCTIONALS, NOT_INSTALLED
from pipeline_lib.params.expert import FinetuningReads
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.mistakes import choose
from pipeline_lib.params.posteriors import POSTERIORS, table_path
from pipeline_lib.params.rebalancing import EMBEDDINGS, PREDICTIONS_FOLDS, RebalancingSettings
from pipeline_lib.params.sections import Params

TRANSCRIPTS = "data/transcripts.parquet"
Part = EmbeddingSettings | BranchSettings  # each has an encoder, or takes one of an expert


def made_by_stages(params: Params) -> set[str]:
    """Return every file and folder that the stages of these parameters write."""
    return {
        FILLER,
        "data/quarantine.parquet",
        "data/leaks.parquet",
        TRANSCRIPTS,
        "data/fused.parquet",
        "data/fused_crossfitted.parquet",
        *(f"data/demonstration/{name}" for name in params.demonstration),
        *(f"data/embeddings/{name}" for name in params.embedding),
        *(f"models/{name}" for name in params.finetuning),
        *(f"data/predictions/{name}.parquet" for name in params.finetuning),
        *(f"{PREDICTIONS_FOLDS}{name}" for name, expert in params.finetuning.items() if expert.folds),
        *(
            f"data/predictions_alone/{name}/{combination}.parquet"
            for name, expert in params.finetuning.items()
            for combination in parts_of(expert.branches)
        ),
        *(f"data/rebalanced/{name}.parquet" for name in params.rebalancing),
    }


def is_local(checkpoint: str) -> bool:
    """Return whether a checkpoint is a path; ``facebook/w2v-bert-2.0`` is a name on the hub, functionals neither."""
    if checkpoint in FUNCTIONALS:
        return False
    return checkpoint.startswith(("/", "./", "../", "models/", "data/")) or Path(checkpoint).exists()


def entries_with_slots(params: Params) -> Iterator[tuple[str, Settings, dict[str, str]]]:
    """Yield each entry that has ``reads``: its dotted name, its slots, and what it reads by role."""
    transcription = params.transcription
    chosen = getattr(transcription, transcription.engine)
    yield "transcription", transcription.reads, {"checkpoint": _local(getattr(chosen, "checkpoint", None))}
    for name, embedding in params.embedding.items():
        roles = {
            "encoder": _encoder(embedding),
            "transcripts": _transcripts([embedding.modality], embedding.text),
            "faces": FILLER,
        }
        yield f"embedding.{name}", embedding.reads, roles
    for name, expert in params.finetuning.items():
        yield f"finetuning.{name}", expert.reads, _expert(expert)
    for name, entry in params.rebalancing.items():
        yield f"rebalancing.{name}", entry.reads, {"source": _source(name, entry, params)}


def sources(params: Params) -> list[str]:
    """Return what an entry of rebalancing may read: tables of predictions and embeddings."""
    folders = ("data/predictions/", "data/predictions_alone/", PREDICTIONS_FOLDS, EMBEDDINGS)
    return sorted(path for path in made_by_stages(params) if path.startswith(folders))


def parts_with_encoder(params: Params) -> Iterator[tuple[str, str, Part]]:
    """Yield the dotted name, the modality and the settings of what holds an encoder: embeddings, experts' branches."""
    for name, embedding in params.embedding.items():
        yield f"embedding.{name}", embedding.modality, embedding
    for name, expert in params.finetuning.items():
        yield from branches_of(name, expert)


def branches_of(name: str, expert: FinetuningSettings) -> Iterator[tuple[str, str, BranchSettings]]:
    """Yield the dotted name, the modality and the settings of each branch; of one modality the entry is its branch.

    Args:
        name: of the expert
        expert: its entry
    """
    several = len(expert.branches) > 1
    for modality, branch in expert.branches.items():
        yield f"finetuning.{name}.branches.{modality}" if several else f"finetuning.{name}", modality, branch


def checkpoint_of(part: Part, params: Params) -> tuple[str, str | None]:
    """Return what an encoder is loaded from and its revision: a checkpoint, or what the expert is tuned from.

    An expert that no entry trains is a folder, which is returned.

    Args:
        part: an embedding, or a branch of an expert
        params: all sections
    """
    if part.encoder is not None:
        return part.encoder.checkpoint, part.encoder.revision
    assert part.expert is not None  # either an encoder or an expert
    trained = {f"models/{name}": expert for name, expert in params.finetuning.items()}.get(part.expert)
    encoders = [branch.encoder for branch in trained.branches.values()] if trained else []
    if len(encoders) != 1 or encoders[0] is None:
        return part.expert, None
    return encoders[0].checkpoint, encoders[0].revision


def wrong_slots(params: Params) -> list[str]:
    """Return, a line each, the slots that do not hold what the entry reads, with the line that is right."""
    return [
        f"{where}.reads.{role} is {getattr(slots, role)!r}, which is not what the entry reads; expected"
        f" {where}.reads.{role}: {path} (the entry was changed, and its slot was not?); write that line"
        for where, slots, reads in entries_with_slots(params)
        for role, path in reads.items()
        if getattr(slots, role) != path
    ]


def missing_checkpoints(params: Params) -> list[str]:
    """Return, a line each, the local files and folders that are read but neither exist nor are made by a stage."""
    known = made_by_stages(params) | {
        path for expert in params.finetuning.values() for path in _sounds(expert).values()
    }
    known |= {entry.reads.source for entry in params.rebalancing.values()}  # `check` names unknown ones
    return [
        f"{where} reads {path!r}, which does not exist and which no stage makes, expected a file or folder from"
        f" {Path.cwd()}{choose(path, _beside(path), ' (not downloaded yet, or below another folder?); put it there')}"
        for where, _, reads in entries_with_slots(params)
        for path in sorted({*reads.values()})
        if not any(_covers(path, each) for each in known) and is_local(path) and not Path(path).exists()
    ]


def missing_packages(params: Params) -> list[str]:
    """Return, a line each, what an optional package computes that is not installed."""
    mistakes = []
    if params.transcription.engine == "canary" and find_spec("nemo") is None:
        mistakes.append(
            "transcription.engine is 'canary', which needs NeMo, and nemo_toolkit is not installed: pip install"
            " 'speech-emotion-pipeline[asr]' (in a checkout: make install), or set the engine to 'whisper', or to"
            " 'reference' where the corpus has its own transcripts"
        )
    if find_spec("opensmile") is None:
        mistakes += [
            f"embedding.{name}.encoder.checkpoint is {entry.encoder.checkpoint!r}, and {NOT_INSTALLED}"
            for name, entry in params.embedding.items()
            if entry.encoder is not None and entry.encoder.is_functionals
        ]
    return mistakes


def missing_posteriors(params: Params) -> list[str]:
    """Return, a line each, the tables of other systems' probabilities that are not there."""
    mistakes = []
    for name, entry in params.rebalancing.items():
        if entry.reads.source.startswith(POSTERIORS):
            try:
                table_path(entry.reads.source, f"rebalancing.{name}.reads.source")
            except InputError as error:
                mistakes.append(str(error))
    return mistakes


def missing_sounds(params: Params) -> list[str]:
    """Return, a line each, the folders of noise and of room impulse responses that are not there."""
    return [
        f"finetuning.{name}.augmentation.{kind}.root is {path!r}, which is not a folder, expected one of recordings"
        " (not downloaded yet, or a disk that is not mounted?); set it to the folder, or its probability to 0"
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


def _source(name: str, entry: RebalancingSettings, params: Params) -> str:
    """Return what an entry reads: where it names nothing, the predictions of the expert with its name.

    Of an expert with folds these are the folder of its folds' tables.
    """
    expert, source = params.finetuning.get(name), entry.reads.source
    if source == FILLER and expert is not None:
        source = f"data/predictions/{name}.parquet"
    with_folds = {f"data/predictions/{each}.parquet": each for each, e in params.finetuning.items() if e.folds}
    return f"{PREDICTIONS_FOLDS}{with_folds[source]}" if source in with_folds else source


def _covers(folder: str, path: str) -> bool:
    """Return whether the path is the folder or lies in it."""
    return Path(path).is_relative_to(folder)


def _beside(path: str) -> list[str]:
    """Return the paths that lie where a missing one should, the nearest folder of it that exists."""
    folder = Path(path).parent
    return [str(each) for each in folder.iterdir()] if folder.is_dir() else []


def _local(checkpoint: str | None) -> str:
    """Return a checkpoint that is a path, FILLER for a name on the hub or none."""
    return checkpoint if checkpoint and is_local(checkpoint) else FILLER


def _encoder(part: Part) -> str:
    """Return what an encoder is read from: an embedding of its frames, an expert's folder, or a local checkpoint.

    An embedding stands for the encoder behind it: the entry that makes it reads that.
    """
    if isinstance(part, BranchSettings) and part.embedding is not None:
        return part.embedding
    if part.expert is not None:
        return part.expert
    return _local(part.encoder.checkpoint if part.encoder is not None else None)


def _expert(expert: FinetuningSettings) -> dict[str, str]:
    """Return what an expert reads by role."""
    sounds = _sounds(expert)
    return {
        **dict.fromkeys(FinetuningReads.model_fields, FILLER),
        **{MODALITIES[name].slot: _encoder(branch) for name, branch in expert.branches.items()},
        "transcripts": _transcripts(expert.branches, expert.text),
        "noise": sounds.get("noise", FILLER),
        "rooms": sounds.get("reverberation", FILLER),
    }


def _transcripts(modalities: Container[str], text: str) -> str:
    return TRANSCRIPTS if "text" in modalities and text == "transcripts" else FILLER


def _sounds(expert: FinetuningSettings) -> dict[str, str]:
    """Return the folders that the expert's augmentation reads, by its kind."""
    kinds = {name: getattr(expert.augmentation, name) for name in ("noise", "reverberation")}
    return {name: each.root for name, each in kinds.items() if each.probability > 0 and each.root is not None}
