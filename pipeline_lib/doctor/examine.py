"""``ser doctor``: what prevents ``dvc repro`` from running; ``--fix`` removes what can be removed."""

import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline_lib.doctor import hub, installation, leftovers, processes, project, repository
from pipeline_lib.doctor.result import Result
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, read_params
from pipeline_lib.params.check import check
from pipeline_lib.params.machine import read_machine
from pipeline_lib.params.sections import Params

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def examine(*, online: bool = False, end_orphans: bool = False) -> Iterator[Result]:
    """Yield the results of all checks of the project in this folder; nothing is changed.

    Args:
        online: whether to query the hub for each checkpoint
        end_orphans: whether ending processes of earlier runs is among the fixes
    """
    root, table = Path.cwd(), Path("data/manifest.parquet")
    yield from installation.installation(root)
    yield from repository.repository(root)
    params, results = project.parameters(PARAMS)
    yield from results
    if params:
        yield from _guarded("corpus", project.corpus(params.corpus, project.is_made(params), table))
        yield from _guarded("disk", project.disk(root, params, table))
        yield from leftovers.figures(root, params)
    yield from processes.processes(root, end_orphans)
    yield from leftovers.leftovers(root, read_params(PARAMS) if params else None)
    yield from _guarded("cache", _cache(root))
    yield from _guarded("machine", _hardware())
    if online:
        yield from _online(params)


def _hardware() -> Iterator[Result]:
    """Check the device that machine.yaml names for transcription."""
    yield from installation.hardware(read_machine().transcription.device)


def _cache(root: Path) -> Iterator[Result]:
    """Measure the cache of transcripts and layers."""
    yield leftovers.cache(root, read_machine().cache.limit_gb)


def _online(params: Params | None) -> Iterator[Result]:
    """Query the hub for the checkpoints, also where the corpus or other inputs of the parameters are absent."""
    try:
        params = params or check(PARAMS, present=False)
    except InputError:
        remedy = "correct params.yaml first, as the lines above say"
        yield Result("hub", "problem", "not queried: params.yaml names no checkpoints that can be read", remedy)
        return
    yield from hub.hub(params)


def diagnose(
    *,
    fix: bool = False,
    end_orphans: bool = False,
    clear_cache: bool = False,
    online: bool = False,
    dvc_only: bool = False,
) -> bool:
    """Print the results of all checks and apply their fixes where requested.

    Args:
        fix: apply every fix there is
        end_orphans: end processes of earlier runs too, with ``fix``
        clear_cache: remove the cache of transcripts and layers, with or without ``fix``
        online: query the hub for each checkpoint
        dvc_only: check DVC's own files alone, and print nothing where they are well

    Returns:
        whether no problem is left

    Raises:
        InputError: ``end_orphans`` without ``fix``
    """
    if end_orphans and not fix:
        raise InputError("--end-orphans is used without --fix: add --fix")
    if dvc_only:
        results = [result for result in repository.repository(Path.cwd()) if result.state != "ok"]
    else:
        results = list(examine(online=online, end_orphans=end_orphans))
    if results:
        _print(results)
    left = False
    for result in results:
        if result.state == "ok":
            continue
        if fix and result.fix:
            print(f"{result.check}: {result.fix()}")
        elif result.state == "problem":
            left = True
    if clear_cache:
        print(leftovers.clear_cache(Path.cwd()))
    return not left


def _guarded(check: str, results: Iterator[Result]) -> Iterator[Result]:
    """Pass results on; a file that cannot be read is a result too, and the other checks go on."""
    try:
        yield from results
    except (InputError, OSError) as error:
        yield Result(check, "problem", str(error), "repair the file, or remove it and run dvc repro")


def _print(results: list[Result]) -> None:
    table = Table(box=None, header_style="bold")
    for title in ("check", "", "state", "remedy"):
        table.add_column(title, overflow="fold")
    for result in results:
        state = f"[{COLOURS[result.state]}]{result.state}[/]"
        table.add_row(result.check, state, _plain(result.message), _plain(result.remedy))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
