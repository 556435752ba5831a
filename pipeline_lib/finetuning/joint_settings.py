"""What an entry of ``finetuning`` has when its expert reads audio and text together."""

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.networks.settings import AdaptationSettings
from pipeline_lib.settings import Settings

if TYPE_CHECKING:
    from pipeline_lib.finetuning.settings import FinetuningSettings

Combination = Literal["audio", "text", "both"]
Passes = Annotated[list[Combination], Field(min_length=1)]
COMBINATIONS: tuple[str, ...] = get_args(Combination)
OF_BRANCHES = ("encoder", "layers", "adaptation", "pooling")  # what an expert has once, and a joint one by modality
JOINT = {**dict.fromkeys(OF_BRANCHES), "mixer": {}, "passes": list(COMBINATIONS)}


class BranchSettings(Settings):
    """One modality's encoder, and what is trained of it."""

    encoder: EncoderSettings | None = Field(None, description="a checkpoint; null where expert is given")
    expert: str | None = Field(
        None, min_length=1, description="folder of a trained expert whose encoder is taken, models/audio; null for none"
    )
    layers: Literal["last", "weighted"] = Field("last", description="the last block's output, or a learned mean of all")
    adaptation: AdaptationSettings = AdaptationSettings(method="frozen")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError("wanted either encoder or expert, the other one null")
        check_weights(self.encoder, self.adaptation)
        return self


class BranchesSettings(Settings):
    """The encoders of a joint expert."""

    audio: BranchSettings
    text: BranchSettings

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_modality(self.audio.encoder, "audio", "branches.audio.encoder")
        return self

    def items(self) -> list[tuple[str, BranchSettings]]:
        """Return the branches by modality, in their order."""
        return [("audio", self.audio), ("text", self.text)]


def check_weights(encoder: EncoderSettings | None, adaptation: AdaptationSettings) -> None:
    """Refuse to train weights that are not held in float32."""
    if encoder is not None and encoder.weights != "float32" and adaptation.method == "full":
        raise ValueError(
            f"encoder.weights is {encoder.weights!r} and adaptation.method 'full'; wanted weights 'float32', or method"
            " 'lora': bfloat16 rounds Adam's small updates away, and 4 bit takes no gradient"
        )


def check_modality(encoder: EncoderSettings | None, modality: str, where: str = "encoder") -> None:
    """Refuse 4-bit weights for audio."""
    if encoder is not None and encoder.weights == "nf4" and modality == "audio":
        raise ValueError(f"{where}.weights is 'nf4', which is for text; wanted 'float32' or 'bfloat16' for audio")


def check_single(entry: "FinetuningSettings") -> None:
    """Refuse in an audio or text expert what only a joint one has.

    Raises:
        ValueError: an option is set that would do nothing, or one that is needed is null
    """
    for name in OF_BRANCHES:
        if getattr(entry, name) is None:
            raise ValueError(f"{name} is null, which is for modality 'joint'; the modality is {entry.modality!r}")
    said = f"is for modality 'joint', the modality is {entry.modality!r}"
    for name in ("branches", "mixer", "passes"):
        if getattr(entry, name) is not None:
            raise ValueError(f"{name} {said}; wanted null")
    for name, idle in (("heads", "shared"), ("modality_dropout", 0), ("cache_embeddings_gb", 0)):
        if getattr(entry, name) != idle:
            raise ValueError(f"{name} {said}; wanted {idle!r}")
    if entry.early_stopping.shown is not None:
        raise ValueError(f"early_stopping.shown {said}; wanted null")
    for name, phase in entry.phases.items():
        if phase.passes is not None:
            raise ValueError(f"phases.{name}.passes {said}; wanted null")
        if phase.train == "both_head":
            raise ValueError(f"phases.{name}.train 'both_head' {said}; wanted 'all' or 'head'")
    check_modality(entry.encoder, entry.modality)
    check_weights(entry.encoder, entry.adaptation)


def check_joint(entry: "FinetuningSettings") -> None:
    """Refuse what a joint expert's branches, passes and heads cannot be trained with.

    Raises:
        ValueError: an option is missing, would do nothing, or does not fit another
    """
    for name in OF_BRANCHES:
        if getattr(entry, name) is not None:
            there = "mixer.pooling" if name == "pooling" else f"branches.audio.{name} and branches.text.{name}"
            raise ValueError(f"{name} is for audio and text experts, a joint expert has {there}; wanted null")
    for name in ("branches", "mixer", "passes"):
        if getattr(entry, name) is None:
            raise ValueError(f"{name} is null and modality 'joint', which needs them")
    for name, phase in entry.phases.items():
        _check_passes(entry, name, entry.passes_of(phase))
        if entry.modality_dropout > 0 and entry.passes_of(phase) in (["audio"], ["text"]):
            raise ValueError(
                f"modality_dropout is {entry.modality_dropout:g} and phase {name!r} trains one modality alone, of which"
                " it would hide utterances; wanted 0, or more passes"
            )
        if phase.train == "both_head" and (entry.heads == "shared" or entry.passes_of(phase) != ["both"]):
            raise ValueError(f"phases.{name}.train is 'both_head', wanted heads 'separate' and passes ['both']")
    trained = {combination for phase in entry.phases.values() for combination in entry.passes_of(phase)}
    untrained = [each for each in COMBINATIONS if each not in trained]
    if entry.heads == "separate" and untrained:
        raise ValueError(
            f"heads is 'separate' and no phase trains {untrained[0]!r}, whose head would predict by chance; name it in"
            " passes, or set heads to 'shared'"
        )


def _check_passes(entry: "FinetuningSettings", name: str, passes: list[str]) -> None:
    if len(set(passes)) != len(passes):
        raise ValueError(f"the passes of phase {name!r} are {passes}, one is named twice")
    shown = entry.early_stopping.shown
    if shown is not None and shown not in passes:
        raise ValueError(
            f"early_stopping.shown is {shown!r}, which phase {name!r} does not train, its passes are {passes}; wanted"
            " one of them, or null for all of them together"
        )
    if entry.losses_of(entry.phases[name]).contrastive > 0 and not {"audio", "text"} <= set(passes):
        raise ValueError(
            f"phase {name!r} gives contrastive a weight in its losses, its passes are {passes}; wanted 'audio' and"
            " 'text' among them"
        )
