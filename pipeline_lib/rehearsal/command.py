"""The command ``ser rehearse``; what it computes is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer


def rehearse(
    recipes: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE...", help="names, or a params.yaml; taltech by default")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="hours, memory and disk alone, nothing is run")] = False,
    small: Annotated[bool, typer.Option("--small", help="on the checkpoints that ship")] = False,
    device: Annotated[str | None, typer.Option(help="plan for h200, h100, a100, l40s, rtx4090 or l4")] = None,
    release: Annotated[str, typer.Option(help="of MSP-Podcast: 2.0, 1.12 or 1.11")] = "2.0",
    hours: Annotated[float | None, typer.Option(help="of speech, in place of the release's", min=0.01)] = None,
    turns: Annotated[int | None, typer.Option(help="utterances, in place of the release's", min=1)] = None,
    utilisation: Annotated[
        float, typer.Option(help="share of the device's rate that the plan assumes", min=0.01, max=1.0)
    ] = 0.35,
    seconds: Annotated[float, typer.Option(help="budget of each recipe's run", min=1.0)] = 600.0,
    utterances: Annotated[int, typer.Option(help="that the stages run on", min=32)] = 64,
    steps: Annotated[int, typer.Option(help="of each phase", min=1)] = 3,
    out: Annotated[Path, typer.Option(help="path of page and JSON, without ending")] = Path("metrics/rehearsal"),
) -> None:
    """Plan recipes at MSP-Podcast's size, and try them with random weights, a kill and a resume among it."""
    from pipeline_lib.rehearsal import rehearse as rehearsal
    from pipeline_lib.rehearsal.corpora import size_of

    size = size_of(release, hours, turns)
    options = rehearsal.Options(size, device, utilisation, small, plan, seconds, utterances, steps)
    rehearsal.rehearse(recipes or ["taltech"], options, out)
