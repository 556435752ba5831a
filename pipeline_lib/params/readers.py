"""Parts of the section ``corpus`` of params.yaml that belong to one reader each."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.params.base import Settings


class CremaDSettings(Settings):
    """CREMA-D was rated by ear, by eye and by both."""

    emotion: Annotated[
        Literal["voice", "face", "both", "intended"],
        Field(description="plurality of the votes on that presentation, X on a tie; intended: what the actor was told"),
    ] = "voice"


class MeldSettings(Settings):
    """MELD has two labels an utterance."""

    label: Annotated[
        Literal["emotion", "sentiment"],
        Field(description="what counts as its emotion; sentiment: negative, neutral, positive, as the corpus has it"),
    ] = "emotion"
