"""What an expert has of each modality: an encoder, and what of it is trained."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.modality import Combination, ModalityName
from pipeline_lib.params.network import AdaptationSettings

Passes = Annotated[list[Combination], Field(min_length=1)]
Layers = Annotated[Literal["last", "weighted"], Field(description="the last block's output, or a learned mean of all")]
Embedding = Annotated[
    str | None,
    Field(
        min_length=1,
        description="a folder of data/embeddings with frames of this frozen encoder, read to train; null computes them",
    ),
]


class BranchSettings(Settings):
    """One modality's encoder, and what is trained of it."""

    encoder: EncoderSettings | None = Field(None, description="a checkpoint; null where expert is given")
    expert: str | None = Field(
        None, min_length=1, description="folder of a trained expert whose encoder is taken, models/audio; null for none"
    )
    embedding: Embedding = None
    layers: Layers = "last"
    adaptation: AdaptationSettings = AdaptationSettings(method="frozen")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError(
                "encoder and expert are both null or both set, expected one of them: set the other to null"
            )
        if self.embedding is not None and self.adaptation.method != "frozen":
            raise ValueError(
                f"embedding is {self.embedding!r} and adaptation.method {self.adaptation.method!r}, which changes the"
                " encoder; expected 'frozen', or set embedding to null"
            )
        check_weights(self.encoder, self.adaptation)
        return self


def check_branch(branch: BranchSettings, modality: ModalityName, where: str = "") -> None:
    """Refuse functionals, 4-bit weights for audio, and masks and layer drop where nothing is trained.

    Args:
        branch: of the modality
        modality: that it reads
        where: its dotted name with a dot behind it, for messages; empty for an expert of one modality

    Raises:
        ValueError: one of them is set
    """
    encoder = branch.encoder
    if encoder is None:
        return
    if encoder.is_functionals:
        raise ValueError(
            f"{where}encoder.checkpoint is {encoder.checkpoint!r}, one vector a recording, which no expert is trained"
            " on; expected a checkpoint: functionals are for an entry of embedding, which one of rebalancing reads"
        )
    if encoder.weights == "nf4" and modality == "audio":
        raise ValueError(
            f"{where}encoder.weights is 'nf4', which is for text; expected 'float32' or 'bfloat16' for audio"
        )
    idle: dict[str, Any] = {"spec_augment": None, "layerdrop": 0.0}
    for name, off in idle.items():
        if branch.adaptation.method == "frozen" and getattr(encoder, name) != off:
            raise ValueError(
                f"{where}encoder.{name} is set, which acts on an encoder that is trained, this one is frozen; set it to"
                f" {'null' if off is None else off}, or {where}adaptation.method to full or lora"
            )


def check_weights(encoder: EncoderSettings | None, adaptation: AdaptationSettings) -> None:
    """Refuse to train weights that are not held in float32.

    Args:
        encoder: of the branch or expert, None where it is taken from another expert
        adaptation: of the encoder

    Raises:
        ValueError: all weights are trained, in less than float32
    """
    if encoder is not None and encoder.weights != "float32" and adaptation.method == "full":
        raise ValueError(
            f"encoder.weights is {encoder.weights!r} and adaptation.method 'full'; expected weights 'float32', or"
            " method 'lora': bfloat16 rounds Adam's small updates away, and 4 bit takes no gradient"
        )
