"""An entry of the section ``embedding`` of params.yaml: one encoder, and what of it is kept."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.applicable import EntrySettings, Rule
from pipeline_lib.params.base import FILLER, Settings, Slot, moved, renamed
from pipeline_lib.params.context import Context
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.modality import ModalityName

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class BatchSettings(Settings):
    """What goes through the encoder at once on a GPU; on a CPU it is one utterance, see ``shards.batches.size_on``."""

    size: Count = Field(16, description="on a GPU: utterances of like length in a forward pass, at most; 1 on a CPU")
    seconds: Positive | None = Field(None, description="audio, on a GPU: padded seconds in a forward pass, at most")


class EmbeddingReads(Settings):
    """What an entry reads beside the manifest, by role; ``data/manifest.parquet`` where there is nothing."""

    encoder: Slot = Field(FILLER, description="the encoder's checkpoint where it is a folder, or the expert's folder")
    transcripts: Slot = Field(FILLER, description="data/transcripts.parquet where texts are ASR transcripts")
    faces: Slot = Field(FILLER, description="nothing yet: for crops of faces")


class EmbeddingSettings(EntrySettings):
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
        "batch_size": renamed("batch.size"),
        "batch_seconds": renamed("batch.seconds, of audio alone"),
    }

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("text", ("text",)),
        Rule("context", ("text",)),
        Rule("batch.seconds", ("audio",)),
        Rule("encoder.whisper_length", ("audio",)),
        Rule("encoder.spec_augment", (), elsewhere="finetuning, where an encoder is trained"),
        Rule("encoder.layerdrop", (), elsewhere="finetuning, where an encoder is trained"),
    )

    reads: EmbeddingReads = EmbeddingReads()
    modality: ModalityName = Field(description="what the encoder reads")
    text: Literal["transcripts", "reference"] = Field("transcripts", description="of a recogniser, or human")
    context: Context = 0
    encoder: EncoderSettings | None = Field(None, description="a checkpoint; null where expert is given")
    expert: str | None = Field(None, min_length=1, description="folder of a tuned expert, models/audio; null for none")
    layers: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        "all", description="0 is what enters the first block, i the output of block i"
    )
    pooling: Literal["mean", "mean_std"] = Field("mean", description="over time; mean_std puts the deviation behind")
    frames: bool = Field(False, description="keep every frame of the layers too")
    batch: BatchSettings = BatchSettings()
    shard_size: Count = Field(256, description="utterances an interruption costs at most")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError(
                "encoder and expert are both null or both set, expected one of them: set the other to null"
            )
        if self.layers != "all" and self.layers != sorted(set(self.layers)):
            raise ValueError(
                f"layers is {self.layers}, expected ascending numbers, each once: write {sorted(set(self.layers))}"
            )
        if self.modality == "audio" and self.encoder is not None and self.encoder.weights == "nf4":
            raise ValueError("encoder.weights is 'nf4', which is for text; expected 'float32' or 'bfloat16' for audio")
        self._check_functionals()
        return self

    def _check_functionals(self) -> None:
        """Refuse what functionals do not have: another modality than audio, frames, a deviation over time, layers."""
        if self.encoder is None or not self.encoder.is_functionals:
            return
        expected: dict[str, list[Any]] = {
            "modality": ["audio"],
            "frames": [False],
            "pooling": ["mean"],
            "layers": ["all", [0]],
        }
        for name, allowed in expected.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r} and encoder.checkpoint {self.encoder.checkpoint!r}, which is"
                    f" one vector a recording; expected {' or '.join(map(repr, allowed))}"
                )
