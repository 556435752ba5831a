"""An entry of the section ``finetuning`` of params.yaml: one expert."""

from typing import Any, Self

from pydantic import model_validator

from pipeline_lib.params import finetuning_checks
from pipeline_lib.params.branches import JOINT
from pipeline_lib.params.expert import ExpertEntry


class FinetuningSettings(ExpertEntry):
    """One expert: its encoder or, of a joint expert, its encoders; what is trained of it, on what, how."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Leave to a joint expert what its branches have, and to the others what only a joint expert has."""
        if isinstance(values, dict) and values.get("modality") == "joint":
            return JOINT | values
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        finetuning_checks.check(self)
        return self
