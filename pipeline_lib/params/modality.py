"""Names of modalities and of combinations in params.yaml, checked against ``modalities.MODALITIES``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from pipeline_lib.modalities import JOINED, MODALITIES, combinations_of, known_combination, known_modality


@dataclass(frozen=True)
class Enumerated:
    """The names that a JSON schema lists for a text, as they are when the schema is made."""

    names: Callable[[], list[str]]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "enum": self.names()}


def _combinations() -> list[str]:
    names = combinations_of(MODALITIES)
    return [*names[:-1], JOINED.join(MODALITIES), names[-1]]


# a modality; its table is read when a value is checked
ModalityName = Annotated[str, AfterValidator(known_modality), Enumerated(lambda: list(MODALITIES))]
# a set of modalities joined by +, or both, all of an expert's
Combination = Annotated[str, AfterValidator(known_combination), Enumerated(_combinations)]
