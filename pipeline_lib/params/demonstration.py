"""The section ``demonstration`` of params.yaml: one entry a generated corpus."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings, moved


class DemonstrationSettings(Settings):
    """How much demonstration speech to make, and from which seed. Sizes count utterances, O and X included."""

    old_keys = {"workers": moved("demonstration.workers")}

    layout: Annotated[
        Literal["table", "msp_podcast"],
        Field(description="files and labels as corpus.reader table or msp_podcast wants them; the speech is the same"),
    ] = "table"
    seed: Annotated[int, Field(ge=0, description="another seed gives other sentences, voices and votes")] = 1
    train: Annotated[int, Field(ge=20, description="training utterances, unbalanced, about 15 % of them O or X")] = 1100
    dev: Annotated[int, Field(ge=20, description="development utterances; 440 hold 35 or more of each class")] = 440
    test: Annotated[int, Field(ge=8, multiple_of=8, description="test utterances, as many of each of 8 classes")] = 416
    hidden: Annotated[
        int,
        Field(ge=0, multiple_of=8, description="msp_podcast: balanced utterances more, the unlabelled split test3"),
    ] = 0

    @model_validator(mode="after")
    def _hidden_fits_the_layout(self) -> Self:
        if self.hidden and self.layout == "table":
            raise ValueError(
                f"hidden is {self.hidden}, layout table has no unlabelled split; expected 0 or msp_podcast"
            )
        return self
