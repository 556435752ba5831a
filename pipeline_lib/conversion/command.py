"""``ser convert``: what reads a published checkpoint and writes a folder that ``encoder.checkpoint`` loads."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline_lib.command import guarded

convert = typer.Typer(
    help="Convert a published checkpoint for encoder.checkpoint, or parts of a bundle to ONNX.",
    no_args_is_help=True,
)


@convert.command("hub")
@guarded
def _convert_hub(
    name: str,
    out: Path,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the hub")] = None,
    model_type: Annotated[str | None, typer.Option(help="architecture, where config.json names none")] = None,
) -> None:
    """Convert the .bin checkpoint NAME (on the hub, or a folder) into the folder OUT (models/hubert_base)."""
    from pipeline_lib.conversion.hub import convert

    for sentence in convert(name, out, revision, model_type):
        print(sentence)


@convert.command("sonar")
@guarded
def _convert_sonar(checkpoint: Path, out: Path) -> None:
    """Convert the SONAR speech encoder CHECKPOINT (spenc.eng.pt) into the folder OUT (models/sonar_eng)."""
    from pipeline_lib.conversion.sonar import convert

    for sentence in convert(checkpoint, out):
        print(sentence)


@convert.command("vggish")
@guarded
def _convert_vggish(
    checkpoint: Path,
    out: Path,
    pca: Annotated[Path | None, typer.Option(help="vggish_pca_params.npz, to postprocess as AudioSet did")] = None,
    final_relu: Annotated[bool, typer.Option(help="end in a ReLU, as the torch port does")] = True,
) -> None:
    """Convert VGGish's weights CHECKPOINT (vggish.npz or vggish-10086976.pth) into the folder OUT (models/vggish)."""
    from pipeline_lib.conversion.vggish import convert

    for sentence in convert(checkpoint, out, pca, final_relu=final_relu):
        print(sentence)
