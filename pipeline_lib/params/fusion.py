"""The section ``fusion`` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

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


class PldaSettings(Settings):
    """PLDA on the concatenated centred log-ratio posteriors."""

    shrinkage: Shrinkage = 0.1
    floor: Annotated[float, Field(gt=0, lt=0.1, description="a smaller posterior counts as this in the logarithm")] = (
        1e-4
    )


class FusionSettings(Settings):
    """Each method keeps its own options; ``method`` chooses. Attributes are always interpolated."""

    method: Annotated[Literal["interpolation", "logreg", "plda"], Field(description="how posteriors become one")] = (
        "interpolation"
    )
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
    objective: Annotated[
        Literal["macro_f1", "unweighted_accuracy", "log_likelihood"],
        Field(description="what the weights of interpolation make largest; attributes take the concordance"),
    ] = "macro_f1"
    crossfit_folds: Annotated[
        int, Field(ge=2, description="folds of the cross-fitted posterior of the tuning set; speakers stay together")
    ] = 5
    seed: Annotated[int, Field(ge=0, description="of the folds")] = 1
    interpolation: InterpolationSettings = InterpolationSettings()
    logreg: LogregSettings = LogregSettings()
    plda: PldaSettings = PldaSettings()

    @field_validator("experts")
    @classmethod
    def _unique(cls, experts: list[str]) -> list[str]:
        twice = sorted({each for each in experts if experts.count(each) > 1})
        if twice:
            raise ValueError(f"{twice} named twice, expected each expert once")
        return experts
