"""The parts of an expert's network, as params.yaml and a saved expert name them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings, renamed

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class LoraSettings(Settings):
    """Low-rank adaptation, Hu et al. 2021, by peft's names."""

    old_keys = {"rank": renamed("r"), "alpha": renamed("lora_alpha"), "dropout": renamed("lora_dropout")}

    r: Count = Field(32, description="rank of the update")
    lora_alpha: Annotated[float, Field(gt=0)] = Field(32.0, description="the update is scaled by lora_alpha / r")
    lora_dropout: Share = Field(0.05, description="dropout on what enters the update")
    target_modules: Literal["attention", "attention_and_feed_forward", "all-linear"] | list[str] = Field(
        "attention", description="which linear layers: a group by name, or the layers' own names"
    )
    layers_to_transform: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        None, description="blocks that are adapted, by number from 0; blocks below the first run without gradient"
    )


class AdaptationSettings(Settings):
    """What of the encoder is trained."""

    method: Literal["frozen", "full", "lora"] = Field("lora", description="nothing, everything, or low-rank updates")
    lora: LoraSettings = LoraSettings()
    freeze_feature_encoder: bool = Field(True, description="full: leave the convolutional feature encoder as it is")


class PoolingSettings(Settings):
    """From frames to one vector an utterance."""

    kind: Literal["attentive", "mean", "mean_std", "mean_max_sum", "mean_max", "last_token"] = Field(
        "attentive", description="how frames are joined; mean_max_sum and mean_max as a mixer's pooling"
    )
    projection: Count | None = Field(
        None, description="width of a linear layer with ReLU on each frame before it is pooled; null: none"
    )
    attention_width: Count = Field(128, description="attentive: width of the layer that scores frames")
    statistics: bool = Field(
        False, description="attentive: append the weighted standard deviation to the weighted mean"
    )
    batch_norm: bool = Field(False, description="batch norm of the vector, as ECAPA-TDNN has it behind its pooling")


class HeadSettings(Settings):
    """From one vector an utterance to logits and attributes."""

    kind: Literal["dense", "relu", "tanh", "linear", "sequence_classification"] = Field(
        "dense",
        description="dense layer, ReLU, batch norm, outputs; the same without batch norm, with ReLU or tanh;"
        " linear: outputs alone; or the text model's own classification class",
    )
    width: Count = Field(
        256, description="width of the first layer, which is the utterance's embedding; linear has none"
    )
    dropout: Share = Field(0.0, description="dropout before the outputs")


class SharedTransformerSettings(Settings):
    """What the shared transformer has beside width, layers, heads and dropout; late has it once a modality."""

    stride: Count = Field(4, description="frames of audio that become one token: kernel and stride of the convolution")
    positions: Literal["rope", "absolute"] = Field("rope", description="rotary, or sinusoids added to the tokens")
    norm: Literal["pre", "post"] = Field("pre", description="layer norm before each sublayer, or behind its sum")
    feed_forward: Count = Field(4, description="width of a block's feed-forward layer, in widths of the transformer")
    projection: bool = Field(True, description="contrastive: linear layer and ReLU behind the mean, the paper's g")
    mask_share: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="reconstruction: share of masked tokens")
    masked_passes: Literal["both", "each"] = Field(
        "both", description="reconstruction: from all that an utterance has, or once for each trained combination"
    )
    target: Literal["encoder", "projected"] = Field(
        "encoder", description="reconstruction: the encoder's frames, or the tokens made of them, which collapse"
    )
    reconstruct: Literal["all", "masked"] = Field("all", description="reconstruction: positions that the error counts")


class ImaginationSettings(Settings):
    """What CIF-MMIN has beside width and pooling."""

    autoencoders: Count = Field(5, description="of a cascade that imagines a missing modality")
    widths: Annotated[list[Count], Field(min_length=1)] = Field(
        [128, 64, 32], description="of an autoencoder's layers, down to its code"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        0.37, description="invariance: cosines are divided by it; its published code multiplies them by e"
    )


class MixerSettings(Settings):
    """From the frames of several modalities to one vector an utterance."""

    kind: Literal[
        "concatenation",
        "self_attention",
        "cross_attention",
        "modality_attention",
        "shared_transformer",
        "imagination",
        "late",
    ] = Field("concatenation", description="how the modalities are joined")
    width: Count = Field(128, description="of the attention and of imagined vectors; concatenation keeps the encoders'")
    layers: Count = Field(2, description="shared_transformer and late: number of blocks")
    heads: Count = Field(4, description="of the attention; they divide its width")
    dropout: Share = Field(0.1, description="in the attention and its blocks")
    pooling: Literal["mean", "mean_max_sum", "mean_max"] = Field(
        "mean", description="of frames: their mean, its sum with their maximum, or both one behind the other"
    )
    norm: bool = Field(True, description="self_attention and cross_attention: layer norm on each modality's frames")
    attend: Literal["together", "apart"] = Field(
        "together", description="self_attention: over the sequences one behind the other, or within each modality"
    )
    shared_transformer: SharedTransformerSettings = SharedTransformerSettings()
    imagination: ImaginationSettings = ImaginationSettings()

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"mixer.heads is {self.heads}, expected a divisor of mixer.width, which is {self.width}")
        if self.kind in ("shared_transformer", "late") and self.width // self.heads % 2:
            raise ValueError(f"mixer.width / mixer.heads is {self.width // self.heads}, positions want it even")
        return self
