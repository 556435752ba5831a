"""The section ``scoring`` of params.yaml."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings

Metric = Literal["macro_f1", "ua", "wa", "weighted_f1", "ccc_arousal", "ccc_valence", "ccc_dominance", "ccc_mean"]


class BootstrapSettings(Settings):
    """Intervals: speakers are drawn with replacement, the middle share of the resampled scores is kept."""

    samples: Annotated[int, Field(ge=100)] = Field(2000, description="resampled scores an interval is read from")
    seed: Annotated[int, Field(ge=0)] = 1
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


class ComparisonSettings(Settings):
    """One system against the better of others, by a paired test on every split that tuned nothing."""

    system: str = Field("fused", description="the system that is claimed to be better")
    against: list[str] = Field(["audio", "text"], description="the better of these is beaten; [] compares nothing")
    chosen_on: str = Field("dev_filt", description="the split that decides which of them is better; never a test split")
    metric: Metric = "macro_f1"
    permutations: Annotated[int, Field(ge=100)] = Field(
        10_000, description="swaps that are tried; all of them where 2^(speakers - 1) is no more than this"
    )
    seed: Annotated[int, Field(ge=0)] = 1


class ScoringSettings(Settings):
    """What is scored, on which splits, and how sure the scores are."""

    splits: Annotated[list[str], Field(min_length=1)] = Field(
        description="splits or subsets, in the order of the report"
    )
    plotted_split: str = Field("test", description="the split of the confusion matrices and reliability diagrams")
    tables: Annotated[dict[str, str], Field(min_length=1)] = Field(description="name of a system: its predictions")
    least_coverage: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="a system that predicts a smaller share of a split is left out there, and a warning says so"
    )
    bootstrap: BootstrapSettings = BootstrapSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    calibration_bins: Annotated[int, Field(ge=2)] = 10

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        bad = [name for name in self.tables if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
        if bad:
            raise ValueError(
                f"tables names the system {bad[0]!r}; letters, digits, _ and - only, it becomes a file name"
            )
        if self.plotted_split not in self.splits:
            raise ValueError(f"plotted_split is {self.plotted_split!r}, expected one of splits: {self.splits}")
        if self.comparison.against:
            for name in (self.comparison.system, *self.comparison.against):
                if name not in self.tables:
                    raise ValueError(
                        f"comparison names the system {name!r}, expected one of tables: {sorted(self.tables)}"
                    )
            if self.comparison.system in self.comparison.against:
                raise ValueError(f"comparison.against names {self.comparison.system!r} itself")
        return self
