"""What an expert is trained towards, by which losses, and in which phases; part of an entry of ``finetuning``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings, renamed
from pipeline_lib.params.branches import Passes
from pipeline_lib.params.network import Count, Share

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Attribute = Literal["arousal", "valence", "dominance"]
CATEGORICAL = ("cross_entropy", "focal", "multi_similarity")
AUXILIARY = {  # losses of a joint expert's mixer, and of which kind
    "contrastive": "shared_transformer",
    "reconstruction": "shared_transformer",
    "imagination": "imagination",
    "invariance": "imagination",
}
OF_SEVERAL = ("concordance", "multi_similarity", "contrastive", "invariance")  # one utterance alone has none
LOSSES = (*CATEGORICAL, "concordance", "gender", "sentiment", *AUXILIARY)


class SentimentSettings(Settings):
    """Negative, neutral, positive, read off the valence; in training only, as gender."""

    enabled: bool = Field(False, description="multi-task: sentiment as a further output, in training only")
    thresholds: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        [3.0, 5.0], description="valence on the corpus's scale: negative up to the first, positive from the second on"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.thresholds[0] >= self.thresholds[1]:
            raise ValueError(f"thresholds is {self.thresholds}, expected [highest negative, lowest positive]")
        return self


class MultiSimilaritySettings(Settings):
    """Of the multi-similarity loss, Wang et al. 2019, whose lambda is the base and epsilon the margin."""

    alpha: Positive = Field(2.0, description="how steeply a pair of one emotion that lies apart counts")
    beta: Positive = Field(50.0, description="how steeply a pair of two emotions that lies close counts")
    base: float = Field(0.5, description="similarity from which on pairs count as close")
    margin: Weight | None = Field(
        None, description="leave out pairs easier by this than the hardest of the other kind, 0.1; null keeps all pairs"
    )


class TargetSettings(Settings):
    """What is predicted."""

    emotion: bool = Field(True, description="categories")
    pseudo_labels: bool = Field(True, description="train on O and X as labels of their own, as far as they occur")
    soft_labels: bool = Field(
        False, description="train on the annotators' votes in place of their plurality; X is then no label of its own"
    )
    annotator_dropout: Share = Field(
        0.0, description="soft_labels: an annotator's chance of being left out of an utterance's target in an epoch"
    )
    attributes: list[Attribute] = Field([], description="attributes in order, may be empty")
    attribute_range: Literal["signed", "unit"] = Field(
        "signed", description="the corpus's scale is trained as [-1, 1] or [0, 1], and predicted as it was"
    )
    gender: bool = Field(False, description="multi-task: the speaker's gender as a further output, in training only")
    sentiment: SentimentSettings = SentimentSettings()


class LossSettings(Settings):
    """Weight of each loss; 0 leaves it out."""

    cross_entropy: Weight = Field(1.0, description="of categories")
    focal: Weight = Field(0.0, description="of categories, Lin et al. 2017")
    concordance: Weight = Field(0.0, description="1 - CCC, mean over the attributes of a step's utterances")
    gender: Weight = Field(0.0, description="cross-entropy of the speaker's gender")
    sentiment: Weight = Field(0.0, description="cross-entropy of the sentiment")
    multi_similarity: Weight = Field(0.0, description="of the embedding, by categories; Wang et al. 2019")
    contrastive: Weight = Field(0.0, description="shared_transformer: an utterance's audio against its text")
    reconstruction: Weight = Field(0.0, description="shared_transformer: of masked tokens, the masked autoencoder")
    imagination: Weight = Field(0.0, description="imagination: of a modality's vector as the other imagines it")
    invariance: Weight = Field(0.0, description="imagination: an utterance's audio against its text, by cosines")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: n / (n_labels * n of the label), in cross_entropy and focal"
    )
    focal_gamma: Weight = Field(2.0, description="0 is the cross-entropy")
    label_smoothing: Share = Field(
        0.0, description="share of each target that is spread over all labels, in cross_entropy and focal"
    )
    pairs: MultiSimilaritySettings = MultiSimilaritySettings()

    def weights(self) -> dict[str, float]:
        """Return the weight of each loss by name."""
        return {name: getattr(self, name) for name in LOSSES}


class PhaseSettings(Settings):
    """A stretch of training with an optimiser and a schedule of its own; it ends on its best epoch.

    What transformers' TrainingArguments have too is named as there.
    """

    old_keys = {
        "accumulation": renamed("gradient_accumulation_steps"),
        "warmup_share": renamed("warmup_steps, a share of all steps where it is below 1"),
        "decay": renamed("lr_scheduler_type, whose 'none' is 'constant_with_warmup'"),
        "optimiser": renamed("optim"),
        "max_gradient_norm": renamed("max_grad_norm"),
    }

    epochs: Count = Field(10, description="at most")
    batch_size: Count = Field(16, description="utterances in a forward pass, over all processes")
    gradient_accumulation_steps: Count = Field(
        1, description="batches in a step; they and batch_size multiply to the effective batch, in every loss"
    )
    learning_rate: Positive = Field(1e-4, description="peak")
    head_learning_rate: Positive | None = Field(None, description="peak of all but the encoder; null as learning_rate")
    weight_decay: Weight = Field(1e-3, description="adam adds it to the gradient, adamw shrinks the weights")
    warmup_steps: Weight = Field(0.1, description="steps in which the rate rises from 0; below 1 their share of all")
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="after the warm-up, to 0 or as it is"
    )
    optim: Literal["adam", "adamw"] = Field("adam", description="Adam as it was published, or with decoupled decay")
    chunk_s: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = Field(
        None, description="audio: shortest and longest random chunk; null takes whole utterances"
    )
    max_grad_norm: Positive | None = Field(1.0, description="longer gradients are shortened; null leaves them")
    train: Literal["all", "head", "both_head"] = Field(
        "all",
        description="all that adaptation trains, or the encoders left alone, or of separate heads only that of both",
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="a moving average of the weights is measured and saved in place of them: its decay a step, .999;"
        " null for none",
    )
    passes: Passes | None = Field(None, description="joint: null takes the entry's")
    sampler: Literal["natural", "balanced", "annealed"] = Field(
        "natural",
        description="each once, or all labels equally often, or from the second to the first over the phase's epochs",
    )
    losses: LossSettings | None = Field(None, description="null takes the entry's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chunk_s is not None and self.chunk_s[0] > self.chunk_s[1]:
            raise ValueError(f"chunk_s is {self.chunk_s}, expected [shortest, longest]")
        if self.warmup_steps > 1 and not self.warmup_steps.is_integer():
            raise ValueError(f"warmup_steps is {self.warmup_steps:g}, expected a share below 1 or a whole number")
        return self
