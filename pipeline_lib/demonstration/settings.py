"""The section ``demonstration`` of params.yaml: one entry a generated corpus."""

from typing import Annotated

from pydantic import Field

from pipeline_lib.settings import Settings


class DemonstrationSettings(Settings):
    """How much demonstration speech to make, and from which seed. Sizes count utterances, O and X included."""

    seed: Annotated[int, Field(ge=0, description="another seed gives other sentences, voices and votes")] = 1
    train: Annotated[int, Field(ge=20, description="training utterances, unbalanced, about 15 % of them O or X")] = 1100
    dev: Annotated[int, Field(ge=20, description="development utterances; 440 hold 35 or more of each class")] = 440
    test: Annotated[int, Field(ge=8, multiple_of=8, description="test utterances, as many of each of 8 classes")] = 416
    workers: Annotated[int, Field(ge=1, description="processes that synthesise; the bytes do not depend on it")] = 2
