"""An entry of the section ``finetuning`` of params.yaml: one expert."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.encoders.settings import EncoderSettings
from pipeline_lib.finetuning.augmentation.settings import AugmentationSettings
from pipeline_lib.networks.settings import (
    AdaptationSettings,
    Count,
    HeadSettings,
    NetworkSettings,
    PoolingSettings,
    Share,
)
from pipeline_lib.settings import AfterSettings, Settings
from pipeline_lib.shards.settings import ExecutorSettings

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Attribute = Literal["arousal", "valence", "dominance"]


class TargetSettings(Settings):
    """What is predicted."""

    emotion: bool = Field(True, description="categories")
    pseudo_labels: bool = Field(True, description="train on O and X as labels of their own, as far as they occur")
    soft_labels: bool = Field(
        False, description="train on the annotators' votes in place of their plurality; X is then no label of its own"
    )
    attributes: list[Attribute] = Field([], description="attributes in order, may be empty")
    attribute_range: Literal["signed", "unit"] = Field(
        "signed", description="the corpus's scale is trained as [-1, 1] or [0, 1], and predicted as it was"
    )
    gender: bool = Field(False, description="multi-task: the speaker's gender as a further output, in training only")


class LossSettings(Settings):
    """Weight of each loss; 0 leaves it out."""

    cross_entropy: Weight = Field(1.0, description="of categories")
    focal: Weight = Field(0.0, description="of categories, Lin et al. 2017")
    concordance: Weight = Field(0.0, description="1 - CCC, mean over the attributes of a batch")
    gender: Weight = Field(0.0, description="cross-entropy of the speaker's gender")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: n / (n_labels * n of the label), in cross_entropy and focal"
    )
    focal_gamma: Weight = Field(2.0, description="0 is the cross-entropy")


class PhaseSettings(Settings):
    """A stretch of training with an optimiser and a schedule of its own; it ends on its best epoch."""

    epochs: Count = Field(10, description="at most")
    batch_size: Annotated[int, Field(ge=2)] = Field(16, description="utterances in a forward pass, over all processes")
    accumulation: Count = Field(1, description="batches in a step; the effective batch is batch_size x accumulation")
    learning_rate: Positive = Field(1e-4, description="peak")
    head_learning_rate: Positive | None = Field(None, description="peak of all but the encoder; null as learning_rate")
    weight_decay: Weight = Field(1e-3, description="adam adds it to the gradient, adamw shrinks the weights")
    warmup_share: Share = Field(0.1, description="share of the steps in which the rate rises from 0")
    decay: Literal["linear", "cosine", "none"] = Field("linear", description="after the warm-up, to 0")
    optimiser: Literal["adam", "adamw"] = Field("adam", description="Adam as it was published, or with decoupled decay")
    chunk_s: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = Field(
        None, description="audio: shortest and longest random chunk; null takes whole utterances"
    )
    max_gradient_norm: Positive | None = Field(1.0, description="longer gradients are shortened; null leaves them")
    train: Literal["all", "head"] = Field("all", description="all that adaptation trains, or the encoder left alone")
    sampler: Literal["natural", "balanced", "annealed"] = Field(
        "natural",
        description="each once, or all labels equally often, or from the second to the first over the phase's epochs",
    )
    losses: LossSettings | None = Field(None, description="null takes the entry's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chunk_s is not None and self.chunk_s[0] > self.chunk_s[1]:
            raise ValueError(f"chunk_s is {self.chunk_s}, wanted [shortest, longest]")
        return self


class EarlyStoppingSettings(Settings):
    """Measured on the whole development split."""

    metric: Literal["macro_f1", "ua", "mean_ccc", "loss"] = Field("macro_f1", description="which epoch is best")
    every: Count = Field(1, description="epochs between measurements; a phase's last epoch always has one")
    patience: Count | None = Field(3, description="measurements without a better one before a phase ends; null never")


class PredictSettings(Settings):
    """After training, every utterance of every split, in float32 or what the encoder's weights are held in."""

    batch_size: Count = Field(16, description="utterances of like length in a forward pass")
    max_s: Positive = Field(30.0, description="audio: of a longer utterance the middle is taken")
    executor: ExecutorSettings = ExecutorSettings()


class FinetuningSettings(Settings):
    """One expert: an encoder, what is trained of it, on what, how."""

    after: AfterSettings = AfterSettings()
    modality: Literal["audio", "text"] = Field(description="what the encoder reads")
    text: Literal["transcripts", "reference"] = Field("transcripts", description="text: machine-heard or human")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of new weights, order, chunks and dropout")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto is the fastest there is")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware has it"
    )
    encoder: EncoderSettings
    layers: Literal["last", "weighted"] = Field("last", description="the last block's output, or a learned mean of all")
    adaptation: AdaptationSettings = AdaptationSettings()
    pooling: PoolingSettings = PoolingSettings()
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
    def network(self) -> NetworkSettings:
        """All parts but the encoder."""
        return NetworkSettings(layers=self.layers, adaptation=self.adaptation, pooling=self.pooling, head=self.head)

    def losses_of(self, phase: PhaseSettings) -> LossSettings:
        """Return the losses of a phase."""
        return self.losses if phase.losses is None else phase.losses

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_targets()
        self._check_modality()
        self._check_weights()
        for name, phase in self.phases.items():
            self._check_losses(name, self.losses_of(phase))
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
            if self.modality == "audio":
                raise ValueError("head.kind is 'sequence_classification', which is for text; wanted 'dense'")
            if self.layers == "weighted":
                raise ValueError(
                    "layers is 'weighted', head.kind 'sequence_classification' reads the last layer; wanted 'last'"
                )

    def _check_weights(self) -> None:
        held = self.encoder.weights
        if held != "float32" and self.adaptation.method == "full":
            raise ValueError(
                f"encoder.weights is {held!r} and adaptation.method 'full'; wanted weights 'float32', or method 'lora':"
                " bfloat16 rounds Adam's small updates away, and 4 bit takes no gradient"
            )
        if held == "nf4" and self.modality == "audio":
            raise ValueError("encoder.weights is 'nf4', which is for text; wanted 'float32' or 'bfloat16' for audio")

    def _check_losses(self, phase: str, losses: LossSettings) -> None:
        categories, attributes = losses.cross_entropy + losses.focal > 0, losses.concordance > 0
        for wanted, trained, what, names in (
            (self.targets.emotion, categories, "targets.emotion is true", "cross_entropy and focal"),
            (
                bool(self.targets.attributes),
                attributes,
                f"targets.attributes is {self.targets.attributes}",
                "concordance",
            ),
            (self.targets.gender, losses.gender > 0, "targets.gender is true", "gender"),
        ):
            if wanted and not trained:
                raise ValueError(f"{what}, but phase {phase!r} gives {names} no weight in its losses")
            if trained and not wanted:
                raise ValueError(f"phase {phase!r} gives {names} a weight in its losses, but no such target is trained")
