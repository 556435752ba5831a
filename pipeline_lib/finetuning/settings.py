"""An entry of the section ``finetuning`` of params.yaml: one expert."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.finetuning import joint_settings
from pipeline_lib.finetuning.augmentation.settings import AugmentationSettings
from pipeline_lib.finetuning.joint_settings import BranchesSettings, Combination, Passes
from pipeline_lib.finetuning.phase_settings import (
    AUXILIARY,
    CATEGORICAL,
    OF_SEVERAL,
    LossSettings,
    PhaseSettings,
    Positive,
    TargetSettings,
    Weight,
)
from pipeline_lib.networks.settings import (
    AdaptationSettings,
    Count,
    HeadSettings,
    MixerSettings,
    NetworkSettings,
    PoolingSettings,
    Share,
)
from pipeline_lib.settings import AfterSettings, Settings
from pipeline_lib.shards.settings import ExecutorSettings


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

    batch_size: Count = Field(16, description="utterances of like length in a forward pass")
    max_s: Positive = Field(30.0, description="audio: of a longer utterance the middle is taken")
    executor: ExecutorSettings = ExecutorSettings()


class FinetuningSettings(Settings):
    """One expert: its encoder or, of a joint expert, its encoders; what is trained of it, on what, how."""

    after: AfterSettings = AfterSettings()
    modality: Literal["audio", "text", "joint"] = Field(description="what the expert reads; joint is audio and text")
    text: Literal["transcripts", "reference"] = Field("transcripts", description="text: machine-heard or human")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of new weights, order, chunks and dropout")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto is the fastest there is")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware has it"
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
    cache_embeddings_gb: Weight = Field(
        0.0, description="joint: keep frozen encoders' frames in memory, float16, where all of them fit in this"
    )
    head: HeadSettings = HeadSettings()
    targets: TargetSettings = TargetSettings()
    losses: LossSettings = LossSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    phases: Annotated[dict[str, PhaseSettings], Field(min_length=1)] = Field(description="trained in this order")
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    gradient_checkpointing: bool = Field(False, description="compute activations twice rather than keep them")
    workers: Annotated[int, Field(ge=0)] = Field(2, description="processes that decode and make features")
    threads: Count | None = Field(None, description="CPU threads of the arithmetic; null as torch chooses")
    cache_audio_gb: Weight = Field(0.0, description="keep the decoded training audio in memory where it fits in this")
    save_steps: Count | None = Field(None, description="steps between checkpoints inside an epoch")
    save_seconds: Positive | None = Field(600.0, description="or seconds; each epoch ends with one")
    max_steps: Count | None = Field(None, description="of each phase, for trials; null for all")
    predict: PredictSettings = PredictSettings()

    @property
    def is_joint(self) -> bool:
        """Whether the expert has a branch a modality."""
        return self.modality == "joint"

    @property
    def network(self) -> NetworkSettings:
        """All parts of an audio or text expert but the encoder."""
        return NetworkSettings(layers=self.layers, adaptation=self.adaptation, pooling=self.pooling, head=self.head)

    def losses_of(self, phase: PhaseSettings) -> LossSettings:
        """Return the losses of a phase."""
        return self.losses if phase.losses is None else phase.losses

    def passes_of(self, phase: PhaseSettings) -> list[Combination]:
        """Return the combinations that a phase of a joint expert trains."""
        return (self.passes if phase.passes is None else phase.passes) or []

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Leave to a joint expert what its branches have, and to the others what only a joint expert has."""
        if isinstance(values, dict) and values.get("modality") == "joint":
            return joint_settings.JOINT | values
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_targets()
        if self.is_joint:
            joint_settings.check_joint(self)
        else:
            joint_settings.check_single(self)
        self._check_modality()
        for name, phase in self.phases.items():
            self._check_losses(name, self.losses_of(phase))
            if phase.batch_size == 1:
                self._check_batches_of_one(name, self.losses_of(phase))
        return self

    def _check_targets(self) -> None:
        if not self.targets.emotion and not self.targets.attributes:
            raise ValueError("targets has neither emotion nor attributes, there is nothing to train")
        if self.targets.soft_labels and not self.targets.emotion:
            raise ValueError("targets.soft_labels is true and targets.emotion false, which it is a form of")
        if len(set(self.targets.attributes)) != len(self.targets.attributes):
            raise ValueError(f"targets.attributes is {self.targets.attributes}, one is named twice")
        metric = self.early_stopping.metric
        if metric in ("macro_f1", "ua") and not self.targets.emotion:
            raise ValueError(
                f"early_stopping.metric is {metric!r} and targets.emotion false; wanted 'mean_ccc' or 'loss'"
            )
        if metric == "mean_ccc" and not self.targets.attributes:
            raise ValueError(
                "early_stopping.metric is 'mean_ccc' and targets.attributes empty; wanted 'macro_f1', 'ua' or 'loss'"
            )

    def _check_modality(self) -> None:
        chunked = [name for name, phase in self.phases.items() if phase.chunk_s is not None]
        if self.modality == "text" and chunked:
            raise ValueError(f"phases.{chunked[0]}.chunk_s is for audio, a text is read whole; wanted null")
        if self.modality == "text" and self.augmentation.is_on:
            raise ValueError(
                "augmentation is for audio, a text has no sound; wanted probabilities and speed.share of 0"
            )
        if self.head.kind == "sequence_classification":
            if self.modality != "text":
                raise ValueError("head.kind is 'sequence_classification', which is for text; wanted 'dense'")
            if self.layers == "weighted":
                raise ValueError(
                    "layers is 'weighted', head.kind 'sequence_classification' reads the last layer; wanted 'last'"
                )
            if self.targets.sentiment.enabled:
                raise ValueError(
                    "targets.sentiment.enabled is true, head.kind 'sequence_classification' has no such output; wanted"
                    " 'dense'"
                )

    def _check_batches_of_one(self, phase: str, losses: LossSettings) -> None:
        if self.head.kind == "dense":
            raise ValueError(
                f"phases.{phase}.batch_size is 1 and head.kind 'dense', whose batch norm one utterance does not train;"
                " wanted 'relu' or 'tanh', or at least 2"
            )
        given = [name for name in OF_SEVERAL if losses.weights()[name] > 0]
        if given:
            raise ValueError(
                f"phases.{phase}.batch_size is 1 and {given[0]} has a weight, which is a loss of several utterances;"
                " wanted at least 2"
            )

    def _check_losses(self, phase: str, losses: LossSettings) -> None:
        weights, targets = losses.weights(), self.targets
        for wanted, names, what in (
            (targets.emotion, CATEGORICAL, "targets.emotion is true"),
            (bool(targets.attributes), ("concordance",), f"targets.attributes is {targets.attributes}"),
            (targets.gender, ("gender",), "targets.gender is true"),
            (targets.sentiment.enabled, ("sentiment",), "targets.sentiment.enabled is true"),
        ):
            given = [name for name in names if weights[name] > 0]
            if wanted and not given:
                raise ValueError(f"{what}, but phase {phase!r} gives {' and '.join(names[:2])} no weight in its losses")
            if given and not wanted:
                said = f"gives {' and '.join(given)} a weight in its losses"
                raise ValueError(f"phase {phase!r} {said}, but no such target is trained")
        if weights["multi_similarity"] > 0 and targets.soft_labels:
            raise ValueError(
                f"phase {phase!r} gives multi_similarity a weight in its losses and targets.soft_labels is true; it"
                " pairs utterances of one label, wanted false"
            )
        for name, kind in AUXILIARY.items():
            if weights[name] > 0 and (self.mixer is None or self.mixer.kind != kind):
                raise ValueError(
                    f"phase {phase!r} gives {name} a weight in its losses, which is for a joint expert with mixer.kind"
                    f" {kind!r}; wanted 0"
                )
