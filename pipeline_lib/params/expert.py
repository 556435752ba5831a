"""What every entry of ``finetuning`` has: targets, losses, phases, prediction; parts of the two kinds of entry."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline_lib.params.applicable import JOINT, SINGLE, EntrySettings, Rule
from pipeline_lib.params.augmentation import AugmentationSettings
from pipeline_lib.params.base import FILLER, Settings, Slot, moved
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.context import Context
from pipeline_lib.params.modality import Combination
from pipeline_lib.params.network import Count, HeadSettings, MixerSettings, PoolingSettings
from pipeline_lib.params.training import AUXILIARY, LossSettings, PhaseSettings, Positive, TargetSettings

OF_AUDIO = ("spec_augment", "layerdrop", "whisper_length")  # keys of an encoder
RULES = (
    *(Rule(key, (JOINT,)) for key in ("branches", "mixer", "passes", "heads", "modality_dropout")),
    *(Rule(key, (JOINT,)) for key in ("early_stopping.shown", "phases.*.passes")),
    *(Rule(f"{losses}.{name}", (JOINT,)) for losses in ("losses", "phases.*.losses") for name in AUXILIARY),
    *(
        Rule(key, SINGLE, f" and set branches.<modality>.{key}")
        for key in ("encoder", "embedding", "layers", "adaptation")
    ),
    Rule("pooling", SINGLE, " and set mixer.pooling"),
    *(Rule(key, ("audio", JOINT)) for key in ("augmentation", "phases.*.chunk_s", "predict.max_s")),
    *(Rule(f"{part}encoder.{key}", ("audio",)) for part in ("", "branches.*.") for key in OF_AUDIO),
    *(Rule(f"{part}adaptation.freeze_feature_encoder", ("audio",)) for part in ("", "branches.*.")),
    Rule("augmentation.mixing", ("audio",)),
    *(Rule(key, ("text", JOINT)) for key in ("text", "context")),
)


class EarlyStoppingSettings(Settings):
    """Measured on the whole development split."""

    metric: Literal["macro_f1", "ua", "mean_ccc", "loss"] = Field("macro_f1", description="which epoch is best")
    every: Count = Field(1, description="epochs between measurements; a phase's last epoch always has one")
    patience: Count | None = Field(3, description="measurements without a better one before a phase ends; null never")
    shown: Combination | None = Field(
        None, description="joint: what of each utterance is read; null counts all of the phase's passes together"
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


class ExpertEntry(EntrySettings):
    """One expert: what is trained of it, on what, how. What it reads, and how that is joined, is left to its kinds."""

    rules: ClassVar[tuple[Rule, ...]] = RULES

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
    text: Literal["transcripts", "reference"] = Field("transcripts", description="of a recogniser, or human")
    context: Context = 0
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of new weights, order, chunks and dropout")
    folds: bool = Field(
        False, description="train an expert a fold of the corpus (corpus.split.method: folds), and predict out of fold"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of trained encoders in training; auto: bfloat16 where the hardware has it"
    )
    cache_embeddings: bool = Field(
        False, description="keep frozen encoders' frames in memory, float16, where machine.yaml gives room"
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

    if TYPE_CHECKING:  # each kind of entry has these, as a field or as what follows from its fields

        @property
        def modality(self) -> str: ...

        @property
        def branches(self) -> dict[str, BranchSettings]: ...

        @property
        def join(self) -> PoolingSettings | MixerSettings: ...

        @property
        def heads(self) -> Literal["shared", "separate"]: ...

        @property
        def modality_dropout(self) -> float: ...

        def passes_of(self, phase: PhaseSettings) -> list[Combination]: ...

    def losses_of(self, phase: PhaseSettings) -> LossSettings:
        """Return the losses of a phase."""
        return self.losses if phase.losses is None else phase.losses
