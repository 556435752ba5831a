"""The command ``ser predict``; what it computes is imported when it runs."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

SOME_FAILED = 3  # exit status: rows are complete, and some of them say why nothing is predicted


def predict(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|FOLDER|TABLE|-",
            help="recordings, folders of them, tables (.csv, .parquet; columns audio, and if there are any"
            " utterance_id, start_s, end_s), or - for names on standard input, one a line, read to its end",
        ),
    ] = None,
    bundle: Annotated[str, typer.Option(help="folder of the bundle, or its name on the hub")] = "bundle",
    out: Annotated[
        Path | None,
        typer.Option(help=".parquet, .csv or .jsonl; by default rows are printed, as JSON where not to a terminal"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="the words of the one recording; without one, a text alone")] = None,
    text_column: Annotated[str | None, typer.Option(metavar="COLUMN", help="of tables: the words")] = None,
    root: Annotated[Path | None, typer.Option(help="folder of a table's recordings, if not the table's")] = None,
    prior: Annotated[
        str | None, typer.Option(metavar="LABEL=SHARE,...", help="how frequent labels are where recordings come from")
    ] = None,
    segment: Annotated[
        str, typer.Option(metavar="none|vad|SECONDS", help="predict whole, by turn of speech, or by equal parts")
    ] = "none",
    batch_size: Annotated[int, typer.Option(min=1, help="parts that go through the models together")] = 1,
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="where models run")] = "cpu",
    encoders: Annotated[
        Path | None, typer.Option(help="folder of the checkpoints that are no part of the bundle")
    ] = None,
) -> None:
    """Predict emotions of any recordings with a trained system, a row each; exit status 3 where some could not be read.

    The same command goes on with --out where it was interrupted.
    """
    from pipeline_lib.prediction import run

    chosen = run.Chosen(
        bundle=bundle,
        out=out,
        text=text,
        text_column=text_column,
        root=root,
        prior=prior,
        segment=segment,
        batch_size=batch_size,
        device=device,
        encoders=encoders,
    )
    if run.run(targets or [], chosen)["failed"]:
        sys.exit(SOME_FAILED)
