"""The section ``corpus.split`` of params.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.params.base import Settings

Seed = Annotated[int, Field(ge=0, description="seed of the draw")]
Share = Annotated[float, Field(gt=0, lt=1)]


class SharesSettings(Settings):
    """Shares of the speakers (``speakers``) or of each label's utterances (``random``); the rest is train."""

    dev: Share = 0.1667
    test: Share = 0.1667


class FoldsSettings(Settings):
    """Cross-validation: each utterance is tested by the one fold whose training part has neither it nor its speaker."""

    k: Annotated[
        Annotated[int, Field(ge=2)] | Literal["loso"],
        Field(description="number of folds; loso: one a speaker; not read where a column or speakers name the folds"),
    ] = 5
    by: Annotated[
        Literal["speakers", "utterances", "column", "assignment"],
        Field(description="what is dealt out; speakers: groups (IEMOCAP's sessions) where there are at least k"),
    ] = "speakers"
    assignment: Annotated[
        list[Annotated[list[str], Field(min_length=1)]],
        Field(description="by assignment: each fold's test speakers, every speaker once, as a protocol publishes them"),
    ] = []
    column: Annotated[
        str, Field(min_length=1, description="by column: which column of the table holds the fold, under any names")
    ] = "fold"
    dev_share: Annotated[Share, Field(description="of a fold's training part: its development part")] = 0.2

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.k == "loso" and self.by != "speakers":
            raise ValueError(f"k is loso, one fold a speaker, and by is {self.by}; expected by: speakers")
        if (self.by == "assignment") != bool(self.assignment) or len(self.assignment) == 1:
            raise ValueError(
                f"by is {self.by} and assignment names {len(self.assignment)} folds; expected by: assignment with the"
                " speakers of two folds or more, or assignment: []"
            )
        named = [speaker for fold in self.assignment for speaker in fold]
        if len(set(named)) < len(named):
            raise ValueError(f"assignment names {sorted({s for s in named if named.count(s) > 1})} twice: keep one")
        return self


class SplitSettings(Settings):
    """How utterances come into train, dev and test, or into folds."""

    method: Annotated[
        Literal["official", "speakers", "column", "random", "folds"] | None,
        Field(description="null: official where the corpus has a split of its own, else speakers"),
    ] = None
    test_speakers: Annotated[list[str], Field(description="speakers: these are tested on; empty: drawn")] = []
    dev_speakers: Annotated[list[str], Field(description="speakers: these are developed on; empty: drawn")] = []
    shares: SharesSettings = SharesSettings()
    seed: Seed = 1
    column: Annotated[str, Field(min_length=1, description="column: which column of the table holds the split")] = (
        "split"
    )
    folds: FoldsSettings = FoldsSettings()

    @field_validator("folds", mode="before")
    @classmethod
    def _is_a_section(cls, value: Any) -> Any:
        """Refuse the number that stood here, whose subsets named folds and left the split as it was."""
        if isinstance(value, int):
            how = f"{{k: {value}}} with method: folds" if value > 1 else "remove it"
            raise ValueError(f"folds is a section now, {{k, by, column, dev_share}}, read by method folds: {how}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = sorted({*self.test_speakers} & {*self.dev_speakers})
        if both:
            raise ValueError(f"test_speakers and dev_speakers both name {both}")
        if (self.test_speakers or self.dev_speakers) and self.method not in (None, "speakers"):
            raise ValueError(f"test_speakers and dev_speakers belong to method speakers, method is {self.method}")
        if self.shares.dev + self.shares.test >= 1:
            raise ValueError(
                f"shares of dev and test sum to {self.shares.dev + self.shares.test:g}, nothing is left for train"
            )
        return self
