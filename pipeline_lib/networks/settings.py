"""The parts of an expert's network, as params.yaml and a saved expert name them."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.settings import Settings

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class LoraSettings(Settings):
    """Low-rank adaptation, Hu et al. 2021."""

    rank: Count = Field(32, description="rank of the update")
    alpha: Annotated[float, Field(gt=0)] = Field(32.0, description="the update is scaled by alpha / rank")
    dropout: Share = Field(0.05, description="dropout on what enters the update")
    target_modules: Literal["attention", "attention_and_feed_forward", "all-linear"] | list[str] = Field(
        "attention", description="which linear layers: a group by name, or the layers' own names"
    )


class AdaptationSettings(Settings):
    """What of the encoder is trained."""

    method: Literal["frozen", "full", "lora"] = Field("lora", description="nothing, everything, or low-rank updates")
    lora: LoraSettings = LoraSettings()
    freeze_feature_encoder: bool = Field(True, description="full: leave the convolutional feature encoder as it is")


class PoolingSettings(Settings):
    """From frames to one vector an utterance."""

    kind: Literal["attentive", "mean", "mean_std", "last_token"] = Field(
        "attentive", description="how frames are joined"
    )
    attention_width: Count = Field(128, description="attentive: width of the layer that scores frames")
    statistics: bool = Field(
        False, description="attentive: append the weighted standard deviation to the weighted mean"
    )


class HeadSettings(Settings):
    """From one vector an utterance to logits and attributes."""

    kind: Literal["dense", "sequence_classification"] = Field(
        "dense", description="dense layer, ReLU, batch norm, outputs; or the text model's own classification class"
    )
    width: Count = Field(256, description="dense: width of the first layer, which is the utterance's embedding")
    dropout: Share = Field(0.0, description="dense: dropout before the outputs")


class NetworkSettings(Settings):
    """All parts but the encoder."""

    layers: Literal["last", "weighted"] = Field("last", description="the last block's output, or a learned mean of all")
    adaptation: AdaptationSettings = AdaptationSettings()
    pooling: PoolingSettings = PoolingSettings()
    head: HeadSettings = HeadSettings()
