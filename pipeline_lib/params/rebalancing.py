"""The section ``rebalancing`` of params.yaml: one entry a system, which names what it reads."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.params.base import FILLER, Settings, Slot
from pipeline_lib.params.classifier import Shrinkage
from pipeline_lib.params.posteriors import POSTERIORS, PosteriorsSettings, misplaced

EMBEDDINGS = "data/embeddings/"
PREDICTIONS_FOLDS = "data/predictions_folds/"
TEST = "test"  # a split whose name begins so is scored only
Share = Annotated[float, Field(ge=0)]
Components = Annotated[
    int | None, Field(ge=1, description="LDA keeps at most so many dimensions, and at most labels - 1; null: no LDA")
]
Kind = Annotated[
    Literal["none", "standardise", "length"],
    Field(description="of the embeddings: each feature to mean 0 and deviation 1, or each centred row to length 1"),
]


class LdaLogisticSettings(Settings):
    """Normalisation, LDA, logistic regression on the expert's embeddings, fitted on train without O and X."""

    normalisation: Kind = "standardise"
    components: Components = 15
    shrinkage: Shrinkage = 0.0
    penalty: Annotated[float, Field(gt=0, description="L2 penalty of the weights; scikit-learn's C is its inverse")] = (
        1.0
    )


class PldaSettings(Settings):
    """Normalisation, LDA, two-covariance PLDA on the expert's embeddings, fitted on train without O and X."""

    normalisation: Kind = "standardise"
    components: Components = 15
    shrinkage: Shrinkage = 0.0
    estimation: Annotated[
        Literal["closed_form", "em"], Field(description="analysis of variance, or maximum likelihood by EM from there")
    ] = "closed_form"
    iterations: Annotated[int, Field(ge=1, description="of the estimation by EM, at most")] = 100
    tolerance: Annotated[float, Field(ge=0, description="EM ends when a row's log-likelihood rises by less")] = 1e-8


class EmSettings(Settings):
    """The prior by EM on unlabelled utterances (Saerens, Latinne and Decaestecker 2002)."""

    on: Annotated[
        str, Field(min_length=1, description="split or subset whose prior is estimated; its labels are not read")
    ] = "test"
    iterations: Annotated[int, Field(ge=1, description="at most")] = 1000
    tolerance: Annotated[float, Field(gt=0, description="EM ends when no label's share moves by more")] = 1e-8
    smoothing: Annotated[
        float, Field(ge=0, description="pseudo-utterances, as many of each label, for every utterance; 0 as published")
    ] = 0.0


class TemperatureSettings(Settings):
    """One temperature an expert (Guo et al. 2017), between 0.05 and 20."""

    on: Annotated[
        str, Field(min_length=1, description="split or subset on whose labels it is fitted; not one of the test splits")
    ] = "dev"
    allow_test_tuning: Annotated[
        bool, Field(description="fit it on utterances of a test split if 'on' holds any; every report then says so")
    ] = False

    @model_validator(mode="after")
    def _is_development_data(self) -> Self:
        if self.on.startswith(TEST) and not self.allow_test_tuning:
            raise ValueError(
                f"on is {self.on!r}, and a temperature is fitted on development data only, expected 'dev' or a subset"
                " of it (allow_test_tuning: true fits it there all the same, and every report says so)"
            )
        return self


class RebalancingReads(Settings):
    """What an entry reads beside the manifest."""

    source: Annotated[
        Slot,
        Field(
            description="a table of predictions, data/predictions/<expert>.parquet (of an expert with folds their"
            " folder, data/predictions_folds/<expert>), data/embeddings/<name>, or probabilities of another system,"
            " posteriors/<table>.csv or .parquet"
        ),
    ] = FILLER


class ProbeSettings(Settings):
    """The linear probe of the layer curve: logistic regression on standardised features, from train to dev."""

    penalty: Annotated[float, Field(gt=0, description="L2 of the logistic regression")] = 1.0
    max_iterations: Annotated[int, Field(ge=1, description="of the logistic regression")] = 200


class SourceSettings(Settings):
    """How a stored embedding is read."""

    layers: Annotated[
        Literal["each", "best_on_dev"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
        Field(description="numbers, each (all that are stored), or best_on_dev; the last two write the layer curve"),
    ]
    normalise: Annotated[
        Literal["none", "speaker"], Field(description="speaker: mean 0, deviation 1 over each speaker's utterances")
    ] = "none"
    average: Annotated[
        Literal["vectors", "posteriors"],
        Field(description="of several layers: their vectors before one back end, or the posteriors of one a layer"),
    ] = "vectors"
    ridge: Annotated[float, Field(gt=0, description="L2 of the regression to attributes, standardised features")] = (
        100.0
    )
    probe: ProbeSettings = ProbeSettings()
    learning_curve: Annotated[
        list[Annotated[float, Field(gt=0, le=1)]] | None,
        Field(min_length=2, description="shares of the training recordings to fit on; null: no learning curve"),
    ] = None

    @field_validator("learning_curve")
    @classmethod
    def _shares_ascend(cls, shares: list[float] | None) -> list[float] | None:
        if shares is not None and shares != sorted(set(shares)):
            raise ValueError("expected ascending shares, each once, such as [0.125, 0.25, 0.5, 1.0]")
        return shares

    @property
    def has_curve(self) -> bool:
        """Whether the layer curve is computed: all stored layers are read."""
        return isinstance(self.layers, str)

    @field_validator("layers")
    @classmethod
    def _layers_ascend(cls, layers: str | list[int]) -> str | list[int]:
        if not isinstance(layers, str) and layers != sorted(set(layers)):
            raise ValueError("expected ascending numbers, each once")
        return layers


class RebalancingSettings(Settings):
    """How one system's posterior is made, and which label prior it then contains. Each choice keeps its own options."""

    reads: RebalancingReads = RebalancingReads()
    folds: Annotated[
        bool, Field(description="fit once a fold of the corpus (corpus.split.method: folds), and predict out of fold")
    ] = False
    source: Annotated[
        SourceSettings | None, Field(description="of an embedding: its layers and normalisation; of predictions null")
    ] = None
    posteriors: Annotated[
        PosteriorsSettings | None,
        Field(description="of probabilities of another system: how their table is read; null: as its defaults say"),
    ] = None

    normalise: Annotated[
        Literal["none", "speaker"],
        Field(description="of an expert's embeddings before the back end, as source.normalise of a stored embedding"),
    ] = "none"
    method: Annotated[
        Literal["none", "lda_logistic", "plda"],
        Field(description="none: the expert's own posterior; else a back end on its embeddings or on a stored one"),
    ] = "none"
    lda_logistic: LdaLogisticSettings = LdaLogisticSettings()
    plda: PldaSettings = PldaSettings()
    refit: Annotated[
        bool,
        Field(description="fit the back end on train and dev together, once dev has chosen its layer where it does"),
    ] = False
    calibration: Annotated[
        Literal["none", "temperature"],
        Field(description="of the method's posterior, before its prior is replaced; temperature: its evidence ^ (1/T)"),
    ] = "none"
    temperature: TemperatureSettings = TemperatureSettings()
    prior: Annotated[
        Literal["uniform", "given", "development", "em", "none"],
        Field(description="the label prior afterwards; none: the training prior stays"),
    ] = "uniform"
    given: Annotated[
        dict[str, Share], Field(description="prior given: each label's share; shares are divided by their sum")
    ] = {}
    em: EmSettings = EmSettings()

    @field_validator("given")
    @classmethod
    def _shares_are_something(cls, given: dict[str, float]) -> dict[str, float]:
        if given and not sum(given.values()) > 0:
            raise ValueError("shares sum to 0, expected at least one above 0")
        return given

    @model_validator(mode="after")
    def _a_given_prior_is_given(self) -> Self:
        if self.prior == "given" and not self.given:
            raise ValueError(
                "prior is 'given', expected shares in 'given', one a label, such as {anger: 0.5, neutral: 0.5}"
            )
        return self

    @model_validator(mode="after")
    def _what_is_normalised_is_read(self) -> Self:
        if self.normalise != "none" and (self.source is not None or self.method == "none"):
            instead = "set source.normalise" if self.source is not None else "set method to lda_logistic or plda"
            raise ValueError(
                f"normalise is {self.normalise!r}, which is of an expert's embeddings before a back end; expected"
                f" 'none', or {instead}"
            )
        return self

    @model_validator(mode="after")
    def _refit_leaves_nothing_to_fit_on_dev(self) -> Self:
        if self.refit and self.method == "none":
            raise ValueError("refit is true and method 'none', which fits nothing: set refit to false, or a method")
        if self.refit and self.calibration != "none":
            raise ValueError(
                f"refit is true and calibration {self.calibration!r}, which would be fitted on what the back end was"
                " fitted on: set refit to false, or calibration to none"
            )
        return self

    @model_validator(mode="after")
    def _an_embedding_has_a_back_end(self) -> Self:
        is_embedding = self.reads.source.startswith(EMBEDDINGS)
        if is_embedding and self.source is None:
            raise ValueError("reads.source is an embedding, expected source: {layers: each}, for example")
        if self.source is not None and not is_embedding:
            raise ValueError(
                f"source is for a stored embedding, and reads.source is {self.reads.source!r}: set source to null, or"
                f" reads.source to {EMBEDDINGS}<name>"
            )
        if is_embedding and self.method == "none":
            raise ValueError(
                "method is 'none', but an embedding has no posterior of its own; expected 'lda_logistic' or 'plda'"
            )
        return self

    @model_validator(mode="after")
    def _probabilities_are_used_as_they_are(self) -> Self:
        source = self.reads.source
        if not source.startswith(POSTERIORS):
            if self.posteriors is not None:
                raise ValueError(
                    f"posteriors is for a table of probabilities, and reads.source is {source!r}: set posteriors to"
                    f" null, or reads.source to {POSTERIORS}<table>.csv"
                )
            return self
        if why := misplaced(source):
            raise ValueError(f"reads.source is {source!r}, {why}")
        if self.method != "none":
            raise ValueError(f"method is {self.method!r}, and {source} holds no embeddings; expected 'none'")
        given = self.posteriors or PosteriorsSettings()
        if self.folds and (given.fitted_on or given.chosen_on):
            raise ValueError(
                "folds is true, and a table of probabilities is then taken as out of fold: set posteriors.fitted_on: []"
                " and posteriors.chosen_on: []"
            )
        if self.prior != "none" and given.training_prior == "unknown":
            raise ValueError(
                f"prior is {self.prior!r}, and the training prior of {source} is unknown: set"
                " posteriors.training_prior, or prior: none"
            )
        return self
