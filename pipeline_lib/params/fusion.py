"""The section ``fusion`` of params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.params.base import Settings
from pipeline_lib.params.classifier import Shrinkage


class InterpolationSettings(Settings):
    """A weighted mean of the posteriors, its weights found by search."""

    step: Annotated[float, Field(gt=0, le=1, description="distance between tried weights; divides 1")] = 0.05

    @field_validator("step")
    @classmethod
    def _divides_one(cls, step: float) -> float:
        if abs(round(1 / step) * step - 1) > 1e-9:
            raise ValueError("expected a step that divides 1, such as 0.05 or 0.1")
        return step


class LogregSettings(Settings):
    """Multinomial logistic regression on the concatenated posteriors."""

    penalty: Annotated[float, Field(gt=0, description="L2 penalty of the weights; scikit-learn's C is its inverse")] = (
        1.0
    )
    class_weights: Annotated[
        Literal["none", "balanced"], Field(description="balanced: every label weighs alike, however rare")
    ] = "none"


class PldaSettings(Settings):
    """PLDA on the concatenated centred log-ratio posteriors."""

    shrinkage: Shrinkage = 0.1
    floor: Annotated[float, Field(gt=0, lt=0.1, description="a smaller posterior counts as this in the logarithm")] = (
        1e-4
    )


class SelectionSettings(Settings):
    """Greedy selection of experts with replacement (Caruana et al. 2004), for many experts."""

    rounds: Annotated[
        int, Field(ge=1, le=1000, description="experts added to a bag at most; the best round counts")
    ] = 20
    initial: Annotated[int, Field(ge=0, description="best single experts that a bag begins with")] = 1
    bags: Annotated[int, Field(ge=1, le=1000, description="selections that are averaged, each from other experts")] = 10
    bag_share: Annotated[float, Field(gt=0, le=1, description="share of the experts that a bag chooses from")] = 0.5


class ClassBiasesSettings(Settings):
    """A bias a label, added to the logarithm of the fused posterior; tuned by coordinate ascent."""

    objective: Annotated[
        Literal["none", "macro_f1", "unweighted_accuracy"],
        Field(description="what the biases make largest on the tuning set, fused by fusers of other speakers"),
    ] = "none"
    step: Annotated[float, Field(gt=0, description="between tried biases")] = 0.1
    largest: Annotated[float, Field(gt=0, le=20, description="size of a bias")] = 2.0
    sweeps: Annotated[int, Field(ge=1, description="over the labels, at most")] = 10

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.step > self.largest:
            raise ValueError(f"step is {self.step}, expected at most largest, {self.largest}")
        return self


class FusionSettings(Settings):
    """Each method keeps its own options; ``method`` chooses. Attributes are always interpolated."""

    method: Annotated[
        Literal["interpolation", "logreg", "plda", "selection", "vote"],
        Field(description="how posteriors become one; vote: the label most experts choose, of ties the more probable"),
    ] = "interpolation"
    experts: Annotated[
        list[str], Field(min_length=1, description="entries of rebalancing, in the order of the weights")
    ]
    folds: Annotated[
        bool, Field(description="fit once a fold of the corpus (corpus.split.method: folds), and predict out of fold")
    ] = False
    tuning: Annotated[
        str,
        Field(min_length=1, description="split or subset that fusion is fitted on; a score there is resubstitution"),
    ] = "dev_bal"
    allow_test_tuning: Annotated[
        bool, Field(description="fit it on utterances of a test split if 'tuning' holds any; every report then says so")
    ] = False
    objective: Annotated[
        Literal["macro_f1", "unweighted_accuracy", "log_likelihood"],
        Field(
            description="what the weights of interpolation and selection make largest; attributes take the concordance"
        ),
    ] = "macro_f1"
    crossfit_folds: Annotated[
        int, Field(ge=2, description="folds of the cross-fitted posterior of the tuning set; speakers stay together")
    ] = 5
    seed: Annotated[int, Field(ge=0, description="of the folds, and of the bags of selection")] = 1
    interpolation: InterpolationSettings = InterpolationSettings()
    logreg: LogregSettings = LogregSettings()
    plda: PldaSettings = PldaSettings()
    selection: SelectionSettings = SelectionSettings()
    class_biases: ClassBiasesSettings = ClassBiasesSettings()

    @property
    def has_biases(self) -> bool:
        """Whether class biases are tuned on the fused posterior."""
        return self.class_biases.objective != "none"

    @property
    def passes_through(self) -> bool:
        """Whether one expert is passed through unchanged: nothing is fitted."""
        return len(self.experts) == 1 and not self.has_biases

    @field_validator("experts")
    @classmethod
    def _unique(cls, experts: list[str]) -> list[str]:
        twice = sorted({each for each in experts if experts.count(each) > 1})
        if twice:
            raise ValueError(f"{twice} named twice, expected each expert once")
        return experts
