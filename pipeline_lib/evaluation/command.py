"""The command ``ser evaluate``; what it computes is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    target: Annotated[Path, typer.Argument(metavar="CORPUS", help="folder, table, or params.yaml of another corpus")],
    reader: Annotated[str | None, typer.Option(help="as in corpus.reader; by default recognised")] = None,
    names: Annotated[str | None, typer.Option("--map", metavar="THEIRS=OURS,...", help="anger=angry,joy=happy")] = None,
    merge: Annotated[
        str | None, typer.Option(metavar="OURS=OURS,...", help="a label of the system counts as another: calm=neutral")
    ] = None,
    split: Annotated[str | None, typer.Option(help="split or subset of the corpus; by default all of it")] = None,
    name: Annotated[str | None, typer.Option(help="of the page; by default the corpus's")] = None,
    root: Annotated[Path | None, typer.Option(help="folder of the table's recordings, if not the table's")] = None,
    project: Annotated[Path, typer.Option(help="folder of the trained system")] = Path(),
    out: Annotated[Path, typer.Option(help="folder of the page and of its numbers")] = Path("metrics/evaluation"),
) -> None:
    """Score the trained system of a project on another corpus, over the labels in common."""
    from pipeline_lib.evaluation import evaluate as evaluation

    evaluation.evaluate(
        target,
        project=project,
        reader=reader,
        root=root,
        names=names,
        merged=merge,
        split=split,
        name=name,
        out=out,
    )
