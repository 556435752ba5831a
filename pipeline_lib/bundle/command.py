"""The command ``ser bundle``; what it computes is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

OUT = Path("bundle")


def bundle(
    out: Annotated[Path, typer.Option(help="folder of the bundle; an earlier bundle in it is replaced")] = OUT,
    with_encoders: Annotated[
        bool, typer.Option("--with-encoders", help="copy the checkpoints of encoders and of Whisper too")
    ] = False,
    project: Annotated[Path, typer.Option(help="folder of the trained system")] = Path(),
) -> None:
    """Pack the trained system into a folder that opens anywhere, as ser predict and Python's Pipeline read it."""
    from pipeline_lib.bundle import format
    from pipeline_lib.bundle.pack import pack

    record = pack(project, out, with_encoders=with_encoders)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(
        f"{out}: version {format.VERSION}, {size / 1e6:.1f} MB, predicts {', '.join(record['labels']) or 'attributes'}"
    )
    for name, known in record["encoders"].items():
        if not known["copied"]:
            print(f"{name} is no part of it: {_hint(name, known['source'])}")


def _hint(name: str, source: str) -> str:
    match source:
        case "hub":
            return "it is loaded from the hub, at the commit that the bundle names"
        case "file":
            return f"put a copy beside it as encoders/{name} where recordings are predicted without a text"
        case _:
            return f"put a copy beside it as encoders/{name}, or pack it --with-encoders"
