"""Options of single readers of the section ``corpus``, and an entry of ``corpus.corpora``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings

SingleReader = Literal["ravdess", "emodb", "crema_d", "nemo", "tess", "msp_podcast", "iemocap", "meld", "table"]


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


class TableSettings(Settings):
    """A corpus of one's own."""

    file: Annotated[
        str, Field(min_length=1, description="CSV or Parquet file below corpus.root, or corpora/… here")
    ] = "corpus.csv"
    ignore: Annotated[
        list[str], Field(description="columns not to be read, though their names mean something: [start, end, channel]")
    ] = []
    keep_words: Annotated[
        list[str], Field(description="labels or speakers called none, NA, - ..., which otherwise are missing values")
    ] = []


class PartSettings(Settings):
    """One of several corpora."""

    reader: Annotated[SingleReader, Field(description="the corpus's layout")]
    folder: Annotated[str | None, Field(min_length=1, description="below corpus.root; null: the entry's name")] = None
    merge: Annotated[
        dict[str, str] | None, Field(description="emotion: what all corpora call it; null: the corpus's own custom")
    ] = None
    attribute_scale: Annotated[
        list[float] | None, Field(min_length=2, max_length=2, description="table: lowest and highest; null: [1, 7]")
    ] = None
    crema_d: CremaDSettings = CremaDSettings()
    meld: MeldSettings = MeldSettings()
    table: TableSettings = TableSettings()

    @model_validator(mode="after")
    def _scale(self) -> Self:
        if self.attribute_scale is not None:
            if self.reader != "table":
                raise ValueError(f"attribute_scale belongs to reader table; {self.reader} has a scale of its own: null")
            low, high = self.attribute_scale
            if not low < high:
                raise ValueError(f"attribute_scale is [{low:g}, {high:g}], expected the lowest value first")
        return self
