"""``python -m pipeline_lib.doctor``: what stands in the way of ``dvc repro``; ``--mend`` removes what may go."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline_lib.command import run
from pipeline_lib.doctor import hub, installation, leftovers, processes, project, repository
from pipeline_lib.doctor.result import Result
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, read_params
from pipeline_lib.params.check import check
from pipeline_lib.params.machine import read_machine
from pipeline_lib.params.sections import Params

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def examine(*, online: bool = False, end_orphans: bool = False) -> Iterator[Result]:
    """Yield every finding about the project in this folder; nothing is changed."""
    root, table = Path.cwd(), Path("data/manifest.parquet")
    yield from installation.installation(root)
    yield from repository.repository(root)
    params, found = project.parameters(PARAMS)
    yield from found
    if params:
        yield from _guarded("corpus", project.corpus(params.corpus, project.is_made(params), table))
        yield from _guarded("disk", project.disk(root, params, table))
    yield from processes.processes(root, end_orphans)
    yield from leftovers.leftovers(root, read_params(PARAMS) if params else None)
    yield from _guarded("machine", _hardware())
    if online:
        yield from _online(params)


def _hardware() -> Iterator[Result]:
    """Look at what machine.yaml asks for."""
    yield from installation.hardware(read_machine().transcription.device)


def _online(params: Params | None) -> Iterator[Result]:
    """Ask for the checkpoints, of parameters too whose corpus or other inputs are not there yet."""
    try:
        params = params or check(PARAMS, present=False)
    except InputError:
        remedy = "put params.yaml right first, as the lines above say"
        yield Result("hub", "problem", "not asked: params.yaml names no checkpoints that can be read", remedy)
        return
    yield from hub.hub(params)


def main(
    mend: Annotated[bool, typer.Option(help="remove what the table says can be removed")] = False,
    end_orphans: Annotated[bool, typer.Option(help="with --mend: end processes of earlier runs too")] = False,
    online: Annotated[bool, typer.Option(help="check at the hub that each checkpoint may be read")] = False,
    dvc_only: Annotated[bool, typer.Option("--dvc-only", help="DVC's own files alone, without a word if well")] = False,
) -> None:
    """Check installation, GPU, parameters, corpus, DVC's locks, orphans, leftovers and disk."""
    if end_orphans and not mend:
        raise InputError("--end-orphans belongs to --mend")
    if dvc_only:
        found = [each for each in repository.repository(Path.cwd()) if each.state != "ok"]
    else:
        found = list(examine(online=online, end_orphans=end_orphans))
    if found:
        _show(found)
    mendable = [each for each in found if each.mend and each.state != "ok"]
    for each in mendable if mend else []:
        print(f"{each.check}: {each.mend()}")  # type: ignore[misc]
    left = [each for each in found if each.state == "problem" and not (mend and each in mendable)]
    if left:
        sys.exit(1)


def _guarded(check: str, findings: Iterator[Result]) -> Iterator[Result]:
    """Pass findings on; a file that cannot be read is a finding too, and the other checks go on."""
    try:
        yield from findings
    except (InputError, OSError) as error:
        yield Result(check, "problem", str(error), "mend the file, or remove it and dvc repro")


def _show(found: list[Result]) -> None:
    table = Table(box=None, header_style="bold")
    for title in ("check", "", "what is", "remedy"):
        table.add_column(title, overflow="fold")
    for each in found:
        table.add_row(each.check, f"[{COLOURS[each.state]}]{each.state}[/]", _plain(each.said), _plain(each.remedy))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


if __name__ == "__main__":
    run(main)
