"""What can be said of one expert: the fields of an entry of ``finetuning``, with what follows from them."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.params.augmentation import AugmentationSettings
from pipeline_lib.params.base import FILLER, Settings, Slot, moved
from pipeline_lib.params.branches import BranchesSettings, Combination, Passes
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import (
    AdaptationSettings,
    Count,
    HeadSettings,
    MixerSettings,
    NetworkSettings,
    PoolingSettings,
    Share,
)
from pipeline_lib.params.training import LossSettings, PhaseSettings, Positive, TargetSettings


class EarlyStoppingSettings(Settings):
    """Measured on the whole development split."""

    metric: Literal["macro_f1", "ua", "mean_ccc", "loss"] = Field("macro_f1", description="which epoch is best")
    every: Count = Field(1, description="epochs between measurements; a phase's last epoch always has one")
    patience: Count | None = Field(3, description="measurements without a better one before a phase ends; null never")
    shown: Combination | None = Field(
        None, description="joint: what of each utterance is shown; null counts all of the phase's passes together"
    )


class PredictSettings(Settings):
    """After training, every utterance of every split, in float32 or what the encoder's weights are held in."""

    old_keys = {"executor": moved("finetuning.executor")}

    batch_size: Count = Field(16, description="utterances of like length in a forward pass")
    max_s: Positive = Field(30.0, description="audio: of a longer utterance the middle is taken")


class FinetuningReads(Settings):
    """What an entry reads beside the manifest, by role; ``data/manifest.parquet`` where there is nothing.

    A branch that reads an embedding names the embedding, whose own entry reads the checkpoint or expert behind it.
    """

    audio: Slot = Field(FILLER, description="local checkpoint, expert or embedding of the audio encoder")
    text: Slot = Field(FILLER, description="local checkpoint, expert or embedding of the text encoder")
    video: Slot = Field(FILLER, description="nothing yet: of the video encoder")
    transcripts: Slot = Field(FILLER, description="data/transcripts.parquet where texts are ASR transcripts")
    noise: Slot = Field(FILLER, description="augmentation.noise.root where its probability is above 0")
    rooms: Slot = Field(FILLER, description="augmentation.reverberation.root where its probability is above 0")
    teacher: Slot = Field(FILLER, description="nothing yet: an expert to learn from")


class ExpertEntry(Settings):
    """One expert: its encoder or, of a joint expert, its encoders; what is trained of it, on what, how."""

    old_keys = {
        "after": "is now reads, with one slot a role: apply the recipe again",
        "cache_embeddings_gb": "is now cache_embeddings, true or false; how much memory has moved to machine.yaml:"
        " finetuning.cache_embeddings_gb",
        "device": moved("finetuning.device"),
        "workers": moved("finetuning.workers"),
        "threads": moved("finetuning.threads"),
        "cache_audio_gb": moved("finetuning.cache_audio_gb"),
        "save_steps": moved("finetuning.save_steps"),
        "save_seconds": moved("finetuning.save_seconds"),
    }

    reads: FinetuningReads = FinetuningReads()
    modality: Literal["audio", "text", "joint"] = Field(description="what the expert reads; joint is audio and text")
    text: Literal["transcripts", "reference"] = Field("transcripts", description="text: machine-heard or human")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of new weights, order, chunks and dropout")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of trained encoders in training; auto: bfloat16 where the hardware has it"
    )
    encoder: EncoderSettings | None = Field(description="of an audio or text expert; null for joint")
    layers: Literal["last", "weighted"] | None = Field(
        "last", description="the last block's output, or a learned mean of all; null for joint"
    )
    adaptation: AdaptationSettings | None = Field(AdaptationSettings(), description="null for joint")
    pooling: PoolingSettings | None = Field(PoolingSettings(), description="null for joint, see mixer.pooling")
    branches: BranchesSettings | None = Field(None, description="joint: the encoders; null for audio and text")
    mixer: MixerSettings | None = Field(None, description="joint: how the modalities are joined; null for others")
    passes: Passes | None = Field(
        None, description="joint: combinations that are trained, each in a pass of its own; null for others"
    )
    heads: Literal["shared", "separate"] = Field("shared", description="joint: one head, or one a combination")
    modality_dropout: Share = Field(0.0, description="joint: share of training utterances that lose one modality")
    cache_embeddings: bool = Field(
        False,
        description="joint: keep frozen encoders' frames in memory, float16, where machine.yaml gives room",
    )
    head: HeadSettings = HeadSettings()
    targets: TargetSettings = TargetSettings()
    losses: LossSettings = LossSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    phases: Annotated[dict[str, PhaseSettings], Field(min_length=1)] = Field(description="trained in this order")
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    gradient_checkpointing: bool = Field(False, description="compute activations twice rather than keep them")
    max_steps: Count | None = Field(None, description="of each phase, for trials; null for all")
    predict: PredictSettings = PredictSettings()

    @property
    def is_joint(self) -> bool:
        """Whether the expert has a branch a modality."""
        return self.modality == "joint"

    @property
    def network(self) -> NetworkSettings:
        """All parts of an audio or text expert but the encoder."""
        if self.layers is None or self.adaptation is None or self.pooling is None:
            raise ValueError("a joint expert has a network for each branch, see branches")
        return NetworkSettings(layers=self.layers, adaptation=self.adaptation, pooling=self.pooling, head=self.head)

    def losses_of(self, phase: PhaseSettings) -> LossSettings:
        """Return the losses of a phase."""
        return self.losses if phase.losses is None else phase.losses

    def passes_of(self, phase: PhaseSettings) -> list[Combination]:
        """Return the combinations that a phase of a joint expert trains."""
        return (self.passes if phase.passes is None else phase.passes) or []
