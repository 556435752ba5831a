"""The command ``ser robustness``; what it computes is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer


def robustness(
    split: Annotated[str | None, typer.Option(help="split or subset; by default scoring.plotted_split")] = None,
    noise: Annotated[Path | None, typer.Option(help="folder of recordings of noise")] = None,
    rooms: Annotated[Path | None, typer.Option(help="folder of impulse responses of rooms")] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="some of noise,rooms,codec,band,clipping; by default those that need no folder or have one"),
    ] = None,
    levels: Annotated[
        list[str] | None, typer.Option(help="of a condition, in place of the default: noise=20,0 or codec=mp3_16,gsm")
    ] = None,
    seed: Annotated[int, typer.Option(help="of all draws", min=0)] = 1,
    largest: Annotated[
        int | None, typer.Option(help="more utterances are sampled, over labels and speakers alike", min=1)
    ] = None,
    wer: Annotated[
        bool, typer.Option(help="transcribe also where no system reads transcripts, for the word error rate alone")
    ] = True,
    project: Annotated[Path, typer.Option(help="the clone with the trained system")] = Path(),
    out: Annotated[Path, typer.Option(help="folder of robustness.md and robustness.json")] = Path("metrics"),
) -> None:
    """Score the trained system on altered recordings: noise, rooms, codecs, band limits, clipping, each at levels."""
    from pipeline_lib.robustness.run import run

    run(
        project=project,
        split=split,
        conditions=None if conditions is None else conditions.split(","),
        levels=levels or (),
        noise=noise,
        rooms=rooms,
        seed=seed,
        largest=largest,
        wer=wer,
        out=out,
    )
