"""The commands ``ser push``, ``ser pull`` and ``ser convert onnx``; what they compute is imported when they run."""

from pathlib import Path
from typing import Annotated

import typer

OUT = Path("bundle")


def push(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="repository on the Hugging Face hub")],
    bundle: Annotated[Path, typer.Option(help="folder of the bundle")] = Path("models/bundle"),
    public: Annotated[bool, typer.Option("--public", help="anyone may read it; by default the owner alone")] = False,
    corpus_licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="of the training corpus, where it is not one that is known")
    ] = None,
    message: Annotated[str, typer.Option(help="of the commit")] = "Push a bundle",
) -> None:
    """Upload a bundle with its model card, in one commit; the same command goes on with an interrupted upload."""
    from pipeline_lib.bundle import hub

    pushed = hub.push(bundle, repo, private=not public, licence=corpus_licence, message=message)
    print(f"{pushed.url}: {pushed.files} files, commit {pushed.commit[:12]}")


def pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="repository on the Hugging Face hub")],
    out: Annotated[Path, typer.Option(help="folder of the bundle; an earlier bundle in it is replaced")] = OUT,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag")] = None,
) -> None:
    """Download a bundle and verify it; the same command goes on with an interrupted download."""
    from pipeline_lib.bundle import hub

    record = hub.pull(repo, out, revision=revision)
    print(f"{out}: predicts {', '.join(record['labels']) or 'attributes'}")


def onnx(
    bundle: Annotated[Path, typer.Argument(help="folder that ser bundle wrote")],
    out: Annotated[Path, typer.Argument(help="folder of the .onnx files")],
) -> None:
    """Write the heads, back ends and fusion of BUNDLE as ONNX into OUT; encoders are not among them."""
    from pipeline_lib.bundle.onnx_export import export

    for path in export(bundle, out):
        print(path)
