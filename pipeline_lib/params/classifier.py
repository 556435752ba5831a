"""Parameters that the classifiers share wherever params.yaml names them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field


def _share(value: Any) -> Any:
    """Refuse what is neither a share nor the name of the formula, in one sentence."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value != "ledoit_wolf" and not (number and 0 <= value <= 1):
        raise ValueError("expected a share in [0, 1] or 'ledoit_wolf'")
    return value


Shrinkage = Annotated[
    float | Literal["ledoit_wolf"],
    BeforeValidator(_share),
    Field(description="of the within-label covariance towards a sphere: 0 to 1, or ledoit_wolf for their formula"),
]
