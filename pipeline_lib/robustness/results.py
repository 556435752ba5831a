"""What a level gave, kept so that a later run does not compute it again.

``work/robustness/<level>-<fingerprint>/`` has ``level.json`` (losses, seconds), a table of predictions for each system
without embeddings, and the transcripts. The fingerprint is of all that the level depends on: utterances and sounds, the
seed, noises or responses, the tables of the project's stages, its parameters but those of scoring, and the code.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline_lib import audio
from pipeline_lib.finetuning.augmentation import augment, rooms, sounds
from pipeline_lib.finetuning.augmentation.sounds import Sound
from pipeline_lib.robustness import alter, codec, conditions
from pipeline_lib.robustness.levels import Level
from pipeline_lib.robustness.plan import Plan
from pipeline_lib.storage import atomic
from pipeline_lib.storage.fingerprint import code_digest, file_digest, fingerprint
from pipeline_lib.tables import predictions, segments, transcripts
from pipeline_lib.tables.predictions import Predictions

RECORD, TRANSCRIPTS, SYSTEMS = "level.json", "transcripts.parquet", "systems"
CODE = (audio, augment, rooms, sounds, segments, alter, codec, conditions)


@dataclass(frozen=True)
class Result:
    """One level.

    Attributes:
        tables: predictions by the system's name
        texts: transcripts by utterance, empty where there is no recogniser
        copies: number of altered recordings
        losses: reason to the number of utterances without one
        quieter: copies that were made quieter to stay within full scale
        seconds: that altering and applying the system took
    """

    tables: dict[str, Predictions]
    texts: dict[str, str] = field(default_factory=dict)
    copies: int = 0
    losses: dict[str, int] = field(default_factory=dict)
    quieter: int = 0
    seconds: float = 0.0


def identities(plan: Plan, *, wer: bool) -> dict[Level, str]:
    """Return the fingerprint of each level.

    Args:
        plan: of the run
        wer: whether recordings are transcribed where only the word error rate needs it
    """
    params = {name: getattr(plan.params, name) for name in ("transcription", "embedding", "finetuning", "rebalancing")}
    dumped = {name: _dumped(value) for name, value in {**params, "fusion": plan.params.fusion}.items()}
    tables = {name: file_digest(path) for name, path in sorted(plan.tables.items())}
    utterances = [*map(list, zip(plan.manifest.ids.tolist(), segments.content(plan.manifest), strict=True))]
    common = fingerprint(dumped, tables, utterances, plan.seed, code_digest(*CODE), wer)
    drawn_from = {"noise": _named(plan.sources.noises)}
    drawn_from |= {name: _named(used) for name, used in plan.sources.responses.items()}
    return {
        level: fingerprint(
            common, level.name, drawn_from.get(level.value if level.condition == "rooms" else level.condition)
        )
        for level in plan.levels
    }


def write(folder: Path, result: Result) -> None:
    """Write a level's result; there is the whole of it or none.

    Args:
        folder: of the level
        result: to be kept
    """
    with atomic.replace_folder(folder) as temporary:
        for name, table in result.tables.items():
            predictions.write(temporary / SYSTEMS / f"{name}.parquet", replace(table, embedding=None))
        if result.texts:
            ids = [*result.texts]
            texts = [*result.texts.values()]
            path = temporary / TRANSCRIPTS
            transcripts.write(path, ids, texts, engine="", checkpoint="", decoding={})
        record = {name: value for name, value in asdict(result).items() if name not in ("tables", "texts")}
        (temporary / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Result | None:
    """Return a level's result, None where it is not finished."""
    if not (folder / RECORD).is_file():
        return None
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    tables = {path.stem: predictions.read(path) for path in sorted((folder / SYSTEMS).glob("*.parquet"))}
    texts: dict[str, str] = {}
    if (folder / TRANSCRIPTS).is_file():
        table = transcripts.read(folder / TRANSCRIPTS)
        texts = dict(zip(table.utterance_ids, table.texts, strict=True))
    return Result(tables, texts, **record)


def _named(used: Any) -> list[list[str | int]]:
    """Return names and sizes of recordings; contents are not read, as in training."""
    sounds_used: tuple[Sound, ...] = tuple(used)
    return [[str(sound.path), sound.size_bytes] for sound in sounds_used]


def _dumped(value: Any) -> Any:
    """Return settings, or entries of settings, as JSON can hold them."""
    if isinstance(value, dict):
        return {name: entry.model_dump(mode="json") for name, entry in value.items()}
    return value.model_dump(mode="json")
