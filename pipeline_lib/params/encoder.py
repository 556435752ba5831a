"""What a backbone is loaded from; part of the entries of ``embedding`` and ``finetuning`` in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.params.base import Revision, Settings

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]


class SpecAugmentSettings(Settings):
    """Masks over an audio encoder's inputs while it is trained, by transformers' names.

    Park et al., "SpecAugment", Interspeech 2019; of HuBERT and its kin over the frames behind the convolutions, where a
    trained vector takes their place, of Whisper over the log mels. A batch in which no utterance is as long as a mask
    is not masked.
    """

    mask_time_prob: Share = Field(0.05, description="share of the frames under masks, at most: masks overlap")
    mask_time_length: Length = Field(10, description="frames of a mask")
    mask_time_min_masks: Count = Field(2, description="masks of an utterance, at least")
    mask_feature_prob: Share = Field(0.0, description="share of the widths, of Whisper's bands, under masks, at most")
    mask_feature_length: Length = Field(10, description="widths of a mask")
    mask_feature_min_masks: Count = Field(0, description="masks over widths, at least")


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
    spec_augment: Annotated[
        SpecAugmentSettings | None, Field(description="audio, trained: masks over the inputs; null for none")
    ] = None
    layerdrop: Annotated[Share, Field(description="audio, trained: each block's chance of being skipped")] = 0.0
    whisper_length: Annotated[
        Literal["padded_30s", "true_length"],
        Field(description="Whisper: clips filled up to 30 s, as it was trained, or as long as they are"),
    ] = "padded_30s"
