"""What a backbone is loaded from; part of the entries of ``embedding`` and ``finetuning`` in params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Revision, Settings

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
NAMESPACE = "functionals/"
FUNCTIONALS = {f"{NAMESPACE}eGeMAPSv02": 88}  # in place of a checkpoint: openSMILE's name of the features, their number
NOT_INSTALLED = (
    "opensmile is not installed: pip install 'speech-emotion-pipeline[egemaps]' (audEERING's research licence, no"
    " commercial use), or remove the entry"
)


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

    checkpoint: Annotated[
        str,
        Field(
            min_length=1,
            description="name on the hub, or a folder; safetensors only; in embedding also functionals/eGeMAPSv02",
        ),
    ]
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

    @property
    def is_functionals(self) -> bool:
        """Whether hand-made features are computed in place of a network's hidden states."""
        return self.checkpoint in FUNCTIONALS

    @model_validator(mode="after")
    def _functionals_have_no_options(self) -> Self:
        if not self.checkpoint.startswith(NAMESPACE):
            return self
        if not self.is_functionals:
            raise ValueError(
                f"checkpoint is {self.checkpoint!r}, expected a checkpoint or one of {list(FUNCTIONALS)}"
                " (a folder of that name: write ./ before it)"
            )
        for name, field in type(self).model_fields.items():
            if name != "checkpoint" and getattr(self, name) != field.default:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, which {self.checkpoint} does not have: set it to"
                    f" {'null' if field.default is None else field.default}"
                )
        return self
