"""What a backbone is loaded from; part of the entries of ``embedding`` and ``finetuning`` in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.settings import Revision, Settings


class EncoderSettings(Settings):
    """A checkpoint of transformers, or its architecture with random weights."""

    checkpoint: Annotated[str, Field(min_length=1, description="name on the hub, or a folder; safetensors only")]
    revision: Revision = None
    pretrained: Annotated[bool, Field(description="false: the checkpoint's architecture with random weights")] = True
    seed: Annotated[int, Field(ge=0, description="of the random weights when pretrained is false")] = 1
    layers_kept: Annotated[int | None, Field(ge=1, description="cut to the first blocks; null keeps all")] = None
    weights: Annotated[
        Literal["float32", "bfloat16", "nf4"],
        Field(description="how frozen weights are held in memory; nf4 (text): 4 bit, bfloat16 arithmetic"),
    ] = "float32"
