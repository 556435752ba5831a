"""Alter a split's recordings at every level, apply the trained system to each, and score it beside clean copies."""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline_lib.command import progress
from pipeline_lib.errors import InputError
from pipeline_lib.robustness import results
from pipeline_lib.robustness.alter import write_copies
from pipeline_lib.robustness.levels import Level
from pipeline_lib.robustness.plan import Plan, plan
from pipeline_lib.robustness.results import Result
from pipeline_lib.shards import store
from pipeline_lib.tables import predictions, transcripts
from pipeline_lib.tables.manifest import Manifest

WORK = Path("work/robustness")  # below the project
Apply = Callable[[Path, Manifest, Path, Path, Path], dict[str, Path]]
Transcribe = Callable[[Path, Manifest, Path, Path, Path], Path]


def run(
    *,
    project: Path,
    split: str | None,
    conditions: Sequence[str] | None,
    levels: Sequence[str],
    noise: Path | None,
    rooms: Path | None,
    seed: int,
    largest: int | None,
    wer: bool,
    out: Path,
) -> None:
    """Compute what is not finished yet, and write the report.

    Args:
        project: folder of the trained system
        split: see ``plan``
        conditions: see ``plan``
        levels: see ``plan``
        noise: see ``plan``
        rooms: folder of impulse responses
        seed: see ``plan``
        largest: see ``plan``
        wer: transcribe where only the word error rate needs it
        out: folder of robustness.md, robustness.json and figures/

    Raises:
        InputError: see ``plan`` and ``inference.system.apply``
    """
    from pipeline_lib.robustness import report  # after the cheap checks: draws

    chosen = plan(project, split, conditions, levels, noise, rooms, seed, largest)
    for note in chosen.notes:
        print(note, file=sys.stderr)
    finished = compute(chosen, wer=wer)
    report.write(chosen, finished, out)


def compute(
    chosen: Plan, *, wer: bool, apply: Apply | None = None, transcribe: Transcribe | None = None
) -> dict[Level, Result]:
    """Return the result of every level; a finished one is read.

    Args:
        chosen: the run
        wer: transcribe where only the word error rate needs it
        apply: applies a trained system, ``inference.system.apply`` where None
        transcribe: its recogniser alone, ``inference.system.transcribe`` where None

    Raises:
        InputError: no utterance has a copy at a level, or see ``inference.system.apply``
    """
    if apply is None or transcribe is None:
        from pipeline_lib.inference import system  # loads torch

        apply, transcribe = apply or system.apply, transcribe or system.transcribe
    work = chosen.project / WORK
    recognise = transcribe if wer and chosen.params.transcription.engine != "reference" else None
    finished: dict[Level, Result] = {}
    with store.locked(work):
        folders = {level: work / f"{level.name}-{name}" for level, name in results.identities(chosen, wer=wer).items()}
        left = [level for level in chosen.levels if results.read(folders[level]) is None]
        if len(left) < len(folders):
            print(f"{len(folders) - len(left)} of {len(folders)} levels are finished", file=sys.stderr)
        begin = time.monotonic()
        for number, level in enumerate(left, start=1):
            result = _level(chosen, level, work / "unfinished", apply, recognise)
            results.write(folders[level], result)
            spent = time.monotonic() - begin
            rate, minutes = number * len(chosen.manifest) / spent, spent / number * (len(left) - number) / 60
            print(
                f"{level.title}: {number} of {len(left)} levels, {result.seconds:.0f} s,"
                f" {rate:.2g} recordings/s, about {minutes:.0f} min left",
                file=sys.stderr,
            )
        for level, folder in folders.items():
            result_of = results.read(folder)
            assert result_of is not None
            finished[level] = result_of
    return finished


def _level(chosen: Plan, level: Level, folder: Path, apply: Apply, transcribe: Transcribe | None) -> Result:
    """Compute one level, after a kill on from its layers; copies, layers and tables are removed when it is finished."""
    begin = time.monotonic()
    root = Path(chosen.params.corpus.root)
    root = chosen.project / root if (chosen.project / root).exists() else root
    audio, out, work = (folder / name for name in ("audio", "data", "work"))
    for earlier in (audio, out):
        shutil.rmtree(earlier, ignore_errors=True)
    with progress(len(chosen.manifest), f"altering: {level.title}") as advance:
        copies = write_copies(chosen.manifest, root, level, chosen.sources, chosen.seed, audio, advance)
    for reason, lost in copies.losses.items():
        share = f"{len(lost)} of {len(chosen.manifest)} recordings are left out"
        print(f"{level.title}: {share}, {lost[0]!r} first: {reason}", file=sys.stderr)
    if not len(copies.manifest):
        raise InputError(f"no recording is left under {level.title}: {', '.join(copies.losses)}")
    given = (chosen.project, copies.manifest, out, audio, work)
    texts: dict[str, str] = {}
    if transcribe is not None:
        table = transcripts.read(transcribe(*given))
        texts = dict(zip(table.utterance_ids, table.texts, strict=True))
    tables = {name: predictions.read(path) for name, path in apply(*given).items()}
    shutil.rmtree(folder)
    return Result(
        tables=tables,
        texts=texts,
        copies=len(copies.manifest),
        losses={reason: len(lost) for reason, lost in copies.losses.items()},
        quieter=copies.quieter,
        seconds=time.monotonic() - begin,
    )
