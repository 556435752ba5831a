"""An entry of the section ``finetuning`` of params.yaml: one expert, of one modality or of several."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticKnownError

from pipeline_lib.modalities import MODALITIES, combinations_of
from pipeline_lib.params import finetuning_checks
from pipeline_lib.params.applicable import JOINT
from pipeline_lib.params.base import PARAMS, read_value, refusal
from pipeline_lib.params.branches import BranchSettings, Embedding, Layers, Passes
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.expert import ExpertEntry
from pipeline_lib.params.modality import Combination, Enumerated, ModalityName
from pipeline_lib.params.network import AdaptationSettings, MixerSettings, PoolingSettings, Share
from pipeline_lib.params.training import PhaseSettings


def _one_modality(name: str) -> str:
    if name not in MODALITIES:
        expected = f"{', '.join(map(repr, MODALITIES))} or {JOINT!r}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return name


class FinetuningSettings(ExpertEntry):
    """One expert: a ``SingleEntry`` or a ``JointEntry``, whichever its ``modality`` says."""

    @classmethod
    def parse(cls, values: Any, section: str, path: Path = PARAMS) -> Self:
        """Return ``values`` as the entry of the kind that ``modality`` says.

        Args:
            values: read from YAML
            section: dotted name, for messages
            path: the file they were read from, for messages

        Raises:
            ParameterError: a key or value is wrong; every mistake is listed
        """
        if cls is not FinetuningSettings:
            return super().parse(values, section, path)
        try:
            return _ENTRY.validate_python(values)
        except ValidationError as error:
            details = error.errors()
            for detail in details:
                detail["loc"] = detail["loc"][1:]  # behind the kind's tag
            raise refusal(_KINDS[_kind(values)], details, section, path) from None


class SingleEntry(FinetuningSettings):
    """An expert of one modality."""

    modality: Annotated[str, AfterValidator(_one_modality), Enumerated(lambda: list(MODALITIES))] = Field(
        description="what the expert reads; another entry reads several, 'joint'"
    )
    encoder: EncoderSettings
    embedding: Embedding = None
    layers: Layers = "last"
    adaptation: AdaptationSettings = AdaptationSettings()
    pooling: PoolingSettings = PoolingSettings()

    @property
    def branches(self) -> dict[str, BranchSettings]:
        """The encoder and what is trained of it, under the modality's name."""
        parts = {name: getattr(self, name) for name in ("encoder", "embedding", "layers", "adaptation")}
        return {self.modality: BranchSettings(**parts)}

    @property
    def join(self) -> PoolingSettings:
        """From frames to one vector an utterance."""
        return self.pooling

    @property
    def heads(self) -> Literal["shared"]:
        """There is one head."""
        return "shared"

    @property
    def modality_dropout(self) -> float:
        """No utterance loses its only modality."""
        return 0.0

    def passes_of(self, phase: PhaseSettings) -> list[Combination]:
        """Return the combinations that a phase trains each in a pass of its own: of one modality there are none.

        Args:
            phase: of the entry
        """
        return []

    @model_validator(mode="after")
    def _check(self) -> Self:
        finetuning_checks.check_single(self)
        finetuning_checks.check(self)
        return self


class JointEntry(FinetuningSettings):
    """An expert of several modalities, with a branch for each."""

    modality: Literal["joint"] = Field(description="the expert reads the modalities of its branches")
    branches: Annotated[dict[ModalityName, BranchSettings], Field(min_length=2)] = Field(
        description="the encoders, one a modality"
    )
    mixer: MixerSettings = Field(MixerSettings(), description="how the modalities are joined")
    passes: Passes = Field(
        default_factory=lambda fields: combinations_of(fields.get("branches", MODALITIES)),
        description="combinations that are trained, each in a pass of its own",
    )
    heads: Literal["shared", "separate"] = Field("shared", description="one head, or one a combination")
    modality_dropout: Share = Field(0.0, description="share of training utterances that lose one modality")

    @property
    def join(self) -> MixerSettings:
        """From the modalities' frames to one vector an utterance."""
        return self.mixer

    def passes_of(self, phase: PhaseSettings) -> list[Combination]:
        """Return the combinations that a phase trains, each in a pass of its own.

        Args:
            phase: of the entry
        """
        return self.passes if phase.passes is None else phase.passes

    @model_validator(mode="before")
    @classmethod
    def _in_order(cls, values: Any) -> Any:
        """Put the branches in the order of the modalities, wherever they stand in params.yaml."""
        if isinstance(values, dict) and isinstance(values.get("branches"), dict):
            given = values["branches"]
            known = {name: given[name] for name in MODALITIES if name in given}
            return values | {"branches": known | given}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        finetuning_checks.check_joint(self)
        finetuning_checks.check(self)
        return self


def read_entry(section: str, path: Path = PARAMS) -> FinetuningSettings:
    """Return the entry of that name.

    Args:
        section: dotted name, ``finetuning.audio`` for example
        path: the parameters

    Raises:
        ParameterError: there is no such entry, or a key or value of it is wrong; every mistake is listed
    """
    return FinetuningSettings.parse(read_value(section, path), section, path)


def _kind(values: Any) -> str:
    """Return the tag of the kind that reads the values."""
    modality = values.get("modality") if isinstance(values, dict) else getattr(values, "modality", None)
    return JOINT if modality == JOINT else "single"


Entry = Annotated[Annotated[SingleEntry, Tag("single")] | Annotated[JointEntry, Tag(JOINT)], Discriminator(_kind)]
_KINDS: dict[str, type[FinetuningSettings]] = {"single": SingleEntry, JOINT: JointEntry}
_ENTRY: TypeAdapter[Any] = TypeAdapter(Entry)
