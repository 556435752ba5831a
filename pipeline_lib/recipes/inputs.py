"""What each entry reads beyond the tables that its stage always reads, held against its ``after`` slots.

DVC cannot template a list of dependencies, so an entry has three fixed slots; a file that is read but stands in none
of them would be replaced without the entry running again.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline_lib.embedding.settings import EmbeddingSettings
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.recipes.sections import Params
from pipeline_lib.settings import FILLER, AfterSettings, Settings

TRANSCRIPTS = "data/transcripts.parquet"


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
        yield f"finetuning.{name}", expert.after, _local_checkpoints(expert.encoder) | _text(expert)


def slots_missing(params: Params) -> list[str]:
    """Return, a line each, what an entry reads without naming it in ``after``."""
    mistakes = []
    for where, slots, reads in entries_with_slots(params):
        named = {slots.a, slots.b, slots.c}
        mistakes += [
            f"{where} reads {path!r}, which stands in none of {where}.after, so its change would go unseen;"
            f" put it in place of {FILLER!r}"
            for path in sorted(reads - named)
        ]
    return mistakes


def slots_idle(params: Params) -> list[str]:
    """Return, a line each, what ``after`` names although the entry does not read it."""
    return [
        f"{where} does not read {path!r}"
        for where, slots, reads in entries_with_slots(params)
        for path in sorted({slots.a, slots.b, slots.c} - reads - {FILLER})
    ]


def missing_checkpoints(params: Params) -> list[str]:
    """Return, a line each, the local files and folders that are read but neither exist nor are made by a stage."""
    made = made_by_stages(params)
    return [
        f"{where} reads {path!r}, which does not exist and which no stage makes"
        for where, slots, reads in entries_with_slots(params)
        for path in sorted(reads | {slots.a, slots.b, slots.c})
        if path not in made and is_local(path) and not Path(path).exists()
    ]


def _local_checkpoints(settings: Settings | None) -> set[str]:
    checkpoint = getattr(settings, "checkpoint", None)
    return {checkpoint} if checkpoint and is_local(checkpoint) else set()


def _text(entry: EmbeddingSettings | FinetuningSettings) -> set[str]:
    return {TRANSCRIPTS} if entry.modality == "text" and entry.text == "transcripts" else set()
