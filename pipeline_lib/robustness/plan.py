"""What a run will alter and by what it will be scored, refused before anything is computed where it cannot be."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.augmentation import rooms, sounds
from pipeline_lib.finetuning.augmentation.sounds import Sound
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.sections import Params
from pipeline_lib.robustness.alter import BYTES_A_SECOND
from pipeline_lib.robustness.conditions import Sources
from pipeline_lib.robustness.draw import drawn
from pipeline_lib.robustness.levels import CLEAN, DEFAULT_LEVELS, Level, levels_of
from pipeline_lib.scoring.lineage import lineage
from pipeline_lib.scoring.tuning import cautions_of_tuning
from pipeline_lib.tables import manifest as manifests
from pipeline_lib.tables.manifest import Manifest, keep

FOLDERS = {"noise": "recordings of noise", "rooms": "impulse responses of rooms"}  # a condition: what its folder holds


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        project: folder of the trained system
        params: of the system
        split: whose utterances are altered
        manifest: these utterances
        levels: clean first
        sources: noises and responses
        seed: of all draws
        notes: sentences on what the run leaves out
    """

    project: Path
    params: Params
    split: str
    manifest: Manifest
    levels: tuple[Level, ...]
    sources: Sources
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def tables(self) -> dict[str, Path]:
        """The project's stored tables by the system's name."""
        return {name: self.project / path for name, path in self.params.scoring.tables.items()}


def plan(
    project: Path,
    split: str | None,
    conditions: Sequence[str] | None,
    given: Sequence[str],
    noise: Path | None,
    responses: Path | None,
    seed: int,
    largest: int | None,
) -> Plan:
    """Return what a run does.

    Args:
        project: folder with params.yaml and what ``dvc repro`` made of it
        split: a split or subset; None for ``scoring.plotted_split``
        conditions: see ``levels``; None takes those that need no folder or have one
        given: levels in place of the defaults, ``condition=value,value``
        noise: folder of noises
        responses: folder of impulse responses
        seed: of the draws
        largest: number of utterances at most; None takes all of the split

    Raises:
        InputError: an option, a folder or the project does not allow the run
    """
    folders = {"noise": noise, "rooms": responses}
    notes = []
    if conditions is None:
        conditions = [name for name in DEFAULT_LEVELS if folders.get(name, True) is not None]
        notes += [
            f"{name} is left out: --{name} names no folder of {FOLDERS[name]}"
            for name in FOLDERS
            if name not in conditions
        ]
    levels = levels_of(conditions, given)
    for name, what in FOLDERS.items():
        if name in conditions and folders[name] is None:
            raise InputError(f"--conditions names {name}, which needs --{name} FOLDER with {what}")
        if name not in conditions and folders[name] is not None:
            raise InputError(f"--{name} {folders[name]} is given and --conditions does not name {name}: remove either")
    raw = read_params(project / "params.yaml")
    params = read_all(raw, project / "params.yaml")
    _refuse_without_audio(params, raw)
    path = project / "data" / "manifest.parquet"
    missing = [table for table in (path, *(project / t for t in params.scoring.tables.values())) if not table.exists()]
    if missing:
        raise InputError(
            f"{missing[0]} does not exist, expected a trained system; run dvc repro in {project.resolve()}"
        )
    corpus = manifests.read(path)
    split = split or params.scoring.plotted_split
    chosen = keep(corpus, drawn(corpus, split, largest, seed))
    _refuse_without_space(chosen, project)
    sources, further = _sources(levels, noise, responses)
    return Plan(
        project, params, split, chosen, (CLEAN, *levels), sources, seed, (*cautions_of_tuning(raw), *notes, *further)
    )


def _refuse_without_audio(params: Params, raw: dict[str, Any]) -> None:
    """Refuse a system of which nothing reads recordings, straight or through a recogniser.

    Raises:
        InputError: none of its tables comes from audio
    """
    if params.transcription.engine != "reference":
        return
    paths = [*params.scoring.tables.values(), *(f"data/rebalanced/{name}.parquet" for name in params.fusion.experts)]
    known = [line for path in paths if (line := lineage(path, raw)) is not None]
    if not any("audio" in line.modalities for line in known):
        raise InputError(
            f"none of {list(params.scoring.tables)} in scoring.tables reads audio, and transcription.engine is"
            " 'reference': altered recordings would change no score"
        )


def _refuse_without_space(manifest: Manifest, project: Path) -> None:
    """Refuse copies of one level that the disk cannot hold; those of a level are removed before the next.

    Raises:
        InputError: too little space
    """
    needed = 2 * BYTES_A_SECOND * float(manifest.frame["duration_s"].sum())  # half of it for what is computed of them
    free = shutil.disk_usage(project).free
    if needed > free:
        raise InputError(
            f"{len(manifest)} altered recordings need {needed / 1e9:.1f} GB in {project / 'work'}, {free / 1e9:.1f} GB"
            " are free; choose fewer by --largest"
        )


def _sources(levels: Sequence[Level], noise: Path | None, responses: Path | None) -> tuple[Sources, list[str]]:
    """Return the recordings that the levels draw from, and a sentence on those that none draws from.

    Raises:
        InputError: a folder cannot be used, or a level of rooms has no response
    """
    noises = sounds.noises_in(noise) if noise is not None else ()
    if responses is None:
        return Sources(noises), []
    measured = []
    for sound in sounds.responses_in(responses):
        try:
            measured.append((sound, rooms.reverberation_time_s(rooms.recorded(sound.path))))
        except InputError as error:
            raise InputError(f"{sound.path}: {error}") from None
    listed = ", ".join(f"{sound.name} {seconds:.2f} s" for sound, seconds in measured)
    by_level: dict[str, list[Sound]] = {}
    for level in levels:
        if level.condition == "rooms":
            low, high = level.range
            by_level[level.value] = [sound for sound, seconds in measured if low < seconds <= high]
            if not by_level[level.value]:
                raise InputError(
                    f"{responses} has no impulse response for rooms of {level.words}, its reverberation times are:"
                    f" {listed}; name others, --levels rooms=LOW-HIGH,..."
                )
    used = {sound.name for chosen in by_level.values() for sound in chosen}
    idle = [f"{sound.name} ({seconds:.2f} s)" for sound, seconds in measured if sound.name not in used]
    notes = [f"{len(idle)} of {len(measured)} impulse responses are in no level of rooms: {', '.join(idle)}"]
    return Sources(noises, by_level), notes if idle else []
