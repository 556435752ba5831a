"""What an entry of ``finetuning`` has when its expert reads audio and text together."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings

Combination = Literal["audio", "text", "both"]
Passes = Annotated[list[Combination], Field(min_length=1)]
COMBINATIONS: tuple[str, ...] = get_args(Combination)
OF_BRANCHES = ("encoder", "layers", "adaptation", "pooling")  # what an expert has once, and a joint one by modality
JOINT: dict[str, Any] = {**dict.fromkeys(OF_BRANCHES), "mixer": {}, "passes": list(COMBINATIONS)}


class BranchSettings(Settings):
    """One modality's encoder, and what is trained of it."""

    encoder: EncoderSettings | None = Field(None, description="a checkpoint; null where expert is given")
    expert: str | None = Field(
        None, min_length=1, description="folder of a trained expert whose encoder is taken, models/audio; null for none"
    )
    embedding: str | None = Field(
        None,
        min_length=1,
        description="a folder of data/embeddings with frames of this frozen encoder, read to train; null computes them",
    )
    layers: Literal["last", "weighted"] = Field("last", description="the last block's output, or a learned mean of all")
    adaptation: AdaptationSettings = AdaptationSettings(method="frozen")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError("expected either encoder or expert, the other one null")
        if self.embedding is not None and self.adaptation.method != "frozen":
            raise ValueError(
                f"embedding is {self.embedding!r} and adaptation.method {self.adaptation.method!r}, which changes the"
                " encoder; expected 'frozen', or embedding null"
            )
        check_weights(self.encoder, self.adaptation)
        return self


class BranchesSettings(Settings):
    """The encoders of a joint expert."""

    audio: BranchSettings
    text: BranchSettings

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_modality(self.audio.encoder, "audio", "branches.audio.encoder")
        for name, branch in self.items():
            trained = branch.adaptation.method != "frozen"
            check_training_only(branch.encoder, name, trained=trained, where=f"branches.{name}.encoder")
        return self

    def items(self) -> list[tuple[str, BranchSettings]]:
        """Return the branches by modality, in their order."""
        return [("audio", self.audio), ("text", self.text)]


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


def check_training_only(
    encoder: EncoderSettings | None, modality: str, *, trained: bool, where: str = "encoder"
) -> None:
    """Refuse masks, layer drop and Whisper's length for text, and masks and layer drop where nothing is trained.

    Args:
        encoder: of the branch or expert, None where it is taken from another expert
        modality: audio or text
        trained: whether any weight of the encoder is
        where: name of the encoder's section, for messages

    Raises:
        ValueError: one of them is set
    """
    if encoder is None:
        return
    if modality == "text" and encoder.whisper_length != "padded_30s":
        raise ValueError(
            f"{where}.whisper_length is {encoder.whisper_length!r}, which is for audio; set it to padded_30s"
        )
    for name, off in (("spec_augment", None), ("layerdrop", 0.0)):
        if getattr(encoder, name) == off:
            continue
        if modality == "text":
            raise ValueError(f"{where}.{name} is set, which is for audio, the modality is 'text'; set it to null or 0")
        if not trained:
            raise ValueError(
                f"{where}.{name} is set, which acts on an encoder that is trained, this one is frozen; set it to null"
                " or 0, or adaptation.method to full or lora"
            )


def check_modality(encoder: EncoderSettings | None, modality: str, where: str = "encoder") -> None:
    """Refuse 4-bit weights for audio.

    Args:
        encoder: of the branch or expert, None where it is taken from another expert
        modality: audio or text
        where: name of the encoder's section, for messages

    Raises:
        ValueError: the weights are in 4 bit and the modality is audio
    """
    if encoder is not None and encoder.weights == "nf4" and modality == "audio":
        raise ValueError(f"{where}.weights is 'nf4', which is for text; expected 'float32' or 'bfloat16' for audio")
