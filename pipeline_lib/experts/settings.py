"""Settings of a trained expert, all that its network is built from and that a prediction depends on."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.errors import InputError
from pipeline_lib.modalities import MODALITIES
from pipeline_lib.params.base import Settings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.modality import ModalityName
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, MixerSettings, PoolingSettings
from pipeline_lib.tables.provenance import NAMES, Provenance

FORMAT_VERSION = 2  # of an expert's folder
Share = Annotated[float, Field(ge=0, le=1)]


class ExpertBranch(Settings):
    """One modality's encoder: a checkpoint, or that of a trained expert, given by its folder.

    Attributes:
        digest: of a local checkpoint's files, which a copy on another machine must have; None on the hub
    """

    encoder: EncoderSettings | None = None
    expert: str | None = None
    layers: Literal["last", "weighted"]
    adaptation: AdaptationSettings
    digest: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.encoder is None) == (self.expert is None):
            raise ValueError("expected either encoder or expert, the other one null")
        return self


class ExpertSettings(Settings):
    """A trained expert.

    Attributes:
        branches: by modality, one or several, in the order of ``MODALITIES``
        pooling: of an expert with one branch, None of others
        mixer: of an expert with several branches, None of others
        heads: one for all combinations of modalities, or one each
        head: its kind and width
        cache_embeddings: whether frozen branches of an expert with one branch are rounded to float16, as cached frames
            are; with several they always are
        labels, attributes: in the order of the outputs
        attribute_scale: lowest and highest value of the corpus's attributes
        attribute_range: of the network's: signed is [-1, 1], unit is [0, 1]
        gender, sentiment: whether there are auxiliary outputs
        seed: of the weights that no checkpoint gives
        max_s: seconds; of longer audio the middle is predicted
        text: transcripts of a recognizer, or the corpus's reference transcripts
        context: previous turns of the dialogue that it reads before a text, at most
        prior: class prior that the posterior contains, sums to 1, one a label; None without labels and before training
        device, precision: that it was trained with, for information
        fitted_on, chosen_on, not_recorded: splits whose labels it depends on, ``tables.provenance``; None before
            training, and of experts of older code
    """

    branches: Annotated[dict[ModalityName, ExpertBranch], Field(min_length=1)]
    pooling: PoolingSettings | None = None
    mixer: MixerSettings | None = None
    heads: Literal["shared", "separate"] = "shared"
    head: HeadSettings
    cache_embeddings: bool = False
    labels: list[str]
    attributes: list[str]
    attribute_scale: Annotated[list[float], Field(min_length=2, max_length=2)]
    attribute_range: Literal["signed", "unit"]
    gender: bool = False
    sentiment: bool = False
    seed: int
    max_s: Annotated[float, Field(gt=0)]
    text: Literal["transcripts", "reference"]
    context: Annotated[int, Field(ge=0)] = 0
    prior: list[Share] | None = None
    device: str | None = None
    precision: str | None = None
    fitted_on: list[str] | None = None
    chosen_on: list[str] | None = None
    not_recorded: list[str] | None = None

    def provenance(self, name: str) -> Provenance:
        """Return the splits whose labels it depends on.

        Args:
            name: of the expert, which stands in the record where its settings hold none
        """
        return Provenance.of({key: getattr(self, key) for key in NAMES}, name)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the expert reads, in order."""
        return tuple(self.branches)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The modalities whose encoder is not trained."""
        return tuple(name for name, branch in self.branches.items() if branch.adaptation.method == "frozen")

    @property
    def rounded(self) -> tuple[str, ...]:
        """The modalities whose frames are rounded to float16."""
        return self.frozen if len(self.branches) > 1 or self.cache_embeddings else ()

    @field_validator("branches")
    @classmethod
    def _in_order(cls, branches: dict[str, ExpertBranch]) -> dict[str, ExpertBranch]:
        return {name: branches[name] for name in MODALITIES if name in branches}

    @model_validator(mode="after")
    def _check(self) -> Self:
        named, several = list(self.branches), len(self.branches) > 1
        if (self.mixer is not None) != several or (self.pooling is None) != several:
            expected = "a mixer and no pooling" if several else "a pooling and no mixer"
            raise ValueError(f"branches are {named}, expected {expected}")
        if self.heads == "separate" and not several:
            raise ValueError(f"heads is 'separate' and branches are {named}; expected 'shared', or several branches")
        if self.head.kind == "sequence_classification" and self.rounded:
            raise ValueError(
                "head.kind is 'sequence_classification', which runs the text model itself, and cache_embeddings true;"
                " expected false"
            )
        if self.head.kind == "sequence_classification" and several:
            raise ValueError(f"head.kind is 'sequence_classification' and branches are {named}; expected one branch")
        if self.prior is not None and len(self.prior) != len(self.labels):
            raise ValueError(f"prior has {len(self.prior)} values, expected one for each label of {self.labels}")
        return self


def check_version(path: Path, version: Any) -> None:
    """Refuse an expert that another version of this code wrote.

    Args:
        path: its settings.json
        version: the format version that it holds

    Raises:
        InputError: it is another one than ``FORMAT_VERSION``
    """
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has format version {version}, this code reads {FORMAT_VERSION}; train the expert again"
        )
