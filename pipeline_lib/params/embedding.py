"""An entry of the section ``embedding`` of params.yaml: one encoder, and what of it is kept."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import FILLER, Settings, Slot, moved
from pipeline_lib.params.encoder import EncoderSettings

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class EmbeddingReads(Settings):
    """What an entry reads beside the manifest, by role; ``data/manifest.parquet`` where there is nothing."""

    encoder: Slot = Field(FILLER, description="the encoder's checkpoint where it is a folder, or the expert's folder")
    transcripts: Slot = Field(FILLER, description="data/transcripts.parquet where texts are ASR transcripts")
    faces: Slot = Field(FILLER, description="nothing yet: for crops of faces")


class EmbeddingSettings(Settings):
    """A frozen encoder, or the encoder of an expert, and which of its hidden states are kept."""

    old_keys = {
        "after": "is now reads, with one slot a role: apply the recipe again",
        "device": moved("embedding.device"),
        "workers": moved("embedding.workers"),
        "limit_gb": moved("embedding.limit_gb"),
        "executor": moved("embedding.executor"),
        "probe": (
            "is now rebalancing.<entry>.source.{probe, ridge}, of an entry that reads this embedding with layers: each:"
            " remove it here"
        ),
    }

    reads: EmbeddingReads = EmbeddingReads()
    modality: Literal["audio", "text"] = Field(description="what the encoder reads")
    text: Literal["transcripts", "reference"] = Field("transcripts", description="text: machine-heard or human")
    encoder: EncoderSettings | None = Field(None, description="a checkpoint; null where expert is given")
    expert: str | None = Field(None, min_length=1, description="folder of a tuned expert, models/audio; null for none")
    layers: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        "all", description="0 is what enters the first block, i the output of block i"
    )
    pooling: Literal["mean", "mean_std"] = Field("mean", description="over time; mean_std puts the deviation behind")
    frames: bool = Field(False, description="keep every frame of the layers too")
    batch_size: Count = Field(16, description="utterances of like length in a forward pass, at most")
    batch_seconds: Positive | None = Field(None, description="audio: padded seconds in a forward pass, at most")
    shard_size: Count = Field(256, description="utterances an interruption costs at most")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError("expected either encoder or expert, the other one null")
        if self.layers != "all" and self.layers != sorted(set(self.layers)):
            raise ValueError(f"layers is {self.layers}, expected ascending numbers, each once")
        if self.modality == "audio" and self.encoder is not None and self.encoder.weights == "nf4":
            raise ValueError("encoder.weights is 'nf4', which is for text; expected 'float32' or 'bfloat16' for audio")
        if self.encoder is not None:
            for name in ("spec_augment", "layerdrop"):
                if getattr(self.encoder, name):
                    raise ValueError(
                        f"encoder.{name} is set, which acts on an encoder that is trained, an embedding is of a frozen"
                        " one; set it to null or 0"
                    )
            if self.modality == "text" and self.encoder.whisper_length != "padded_30s":
                raise ValueError(
                    f"encoder.whisper_length is {self.encoder.whisper_length!r}, which is for audio; set it to"
                    " padded_30s"
                )
        if self.modality == "text" and self.batch_seconds is not None:
            raise ValueError("batch_seconds is for audio, a text has no duration; expected null")
        return self
