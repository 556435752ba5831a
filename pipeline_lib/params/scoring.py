"""The section ``scoring`` of params.yaml."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.params.base import Settings, renamed

Metric = Literal["macro_f1", "ua", "wa", "weighted_f1", "ccc_arousal", "ccc_valence", "ccc_dominance", "ccc_mean"]

FUSED = ("data/fused.parquet", "data/fused_crossfitted.parquet")
RESERVED = (
    "corpus",
    "notice",
    "chance",
    "over_folds",
    "beside_baselines",
    "expected",
    "intervals",
    "provenance",
    "made_on",
)  # keys beside the splits' in details.json
RESERVED_SYSTEMS = ("headline", "of", "chance")  # keys beside the systems' in metrics/scores.json
MARKS = ("_resubstitution", "_selection")  # of a system's name on a split: fitted there, only chosen there


class IntervalSettings(Settings):
    """Intervals over speakers, of scores and of differences."""

    method: Literal["jackknife_t", "percentile"] = Field(
        "jackknife_t", description="jackknife_t, or the percentile bootstrap, which is too narrow with few speakers"
    )
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    samples: Annotated[int, Field(ge=100)] = Field(2000, description="resamples, of method percentile alone")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="of these resamples")


class ComparisonSettings(Settings):
    """One system against the better of others, by a paired test on every split that tuned nothing."""

    system: str = Field("fused", description="the system that is claimed to be better")
    against: list[str] = Field(["audio", "text"], description="the better of these is beaten; [] compares nothing")
    chosen_on: str = Field(
        "dev_filt",
        description="the split that decides which of several is better: no test split; of a corpus in folds: folds",
    )
    allow_test_tuning: bool = Field(
        False, description="choose on utterances of a test split if 'chosen_on' holds any; every report then says so"
    )
    metric: Metric = "macro_f1"
    permutations: Annotated[int, Field(ge=100)] = Field(
        10_000, description="swaps that are tried; all of them where 2^(speakers - 1) is no more than this"
    )
    seed: Annotated[int, Field(ge=0)] = 1


class ExpectedSettings(Settings):
    """The macro-F1 to expect on a hidden test with as many utterances of each label."""

    on: str | None = Field(
        None, description="split or subset of labelled development data that it is predicted from; null: not predicted"
    )


class AuditSettings(Settings):
    """The labels that are most likely wrong, as a table and a page with players."""

    recordings: Annotated[int, Field(ge=0)] = Field(50, description="listed at most; 0 lists none")


class ScoringSettings(Settings):
    """What is scored, on which splits, and how sure the scores are."""

    old_keys = {"bootstrap": renamed("intervals")}

    splits: Annotated[list[str], Field(min_length=1)] = Field(
        description="splits or subsets, in the order of the report"
    )
    plotted_split: str = Field("test", description="the split of the confusion matrices and reliability diagrams")
    tables: Annotated[dict[str, str], Field(min_length=1)] = Field(description="name of a system: its predictions")
    baselines: list[str] = Field([], description="names in tables: what a trained expert has to be better than")
    not_computed: dict[str, str] = Field(
        {}, description="a baseline that is not in tables: the reason, which the report prints"
    )
    least_coverage: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="a system that predicts a smaller share of a split is left out there, and a warning says so"
    )
    intervals: IntervalSettings = IntervalSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    calibration_bins: Annotated[int, Field(ge=2)] = 10
    expected: ExpectedSettings = ExpectedSettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        bad = [name for name in self.tables if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
        if bad:
            raise ValueError(
                f"tables names the system {bad[0]!r}; letters, digits, _ and - only, it becomes a file name"
            )
        taken = [name for name in self.tables if name in RESERVED_SYSTEMS]
        if taken:
            raise ValueError(f"tables names {taken[0]!r}, a key of metrics/scores.json: name that system otherwise")
        marked = [name for name in self.tables if name.endswith(MARKS)]
        if marked:
            raise ValueError(
                f"tables names {marked[0]!r}; {' and '.join(MARKS)} mark what was fitted or chosen on a split: name"
                " that system otherwise"
            )
        reserved = [name for name in self.splits if name in RESERVED]
        if reserved:
            raise ValueError(f"splits names {reserved[0]!r}, a key of metrics/details.json: name that split otherwise")
        for name in self.baselines:
            if name not in self.tables and name not in self.not_computed:
                expected = f"one of tables, {sorted(self.tables)}, or a key of not_computed with the reason"
                raise ValueError(f"baselines names the system {name!r}, expected {expected}")
        for name in self.not_computed:
            if name in self.tables or name not in self.baselines:
                where = "also among tables" if name in self.tables else "not among baselines"
                raise ValueError(f"not_computed names {name!r}, which is {where}: remove it there")
        if self.plotted_split not in self.splits:
            raise ValueError(
                f"plotted_split is {self.plotted_split!r}, expected one of splits: {self.splits} (a split that was"
                " renamed or left out?); set plotted_split to one of them"
            )
        if self.comparison.against:
            for name in (self.comparison.system, *self.comparison.against):
                if name not in self.tables:
                    raise ValueError(
                        f"comparison names the system {name!r}, expected one of tables: {sorted(self.tables)}"
                    )
            if self.comparison.system in self.comparison.against:
                raise ValueError(f"comparison.against names {self.comparison.system!r} itself")
        return self


def leave_out_fusion(values: dict[str, Any]) -> list[str]:
    """Leave the fused rows out of the report where fusion has one expert: they would be that expert once more.

    Args:
        values: all sections of params.yaml, changed in place: scoring's tables, and its comparison and baselines where
            they name a fused row

    Returns:
        the names of the rows that were left out
    """
    experts, scoring = values.get("fusion", {}).get("experts", []), values["scoring"]
    tables, comparison = scoring["tables"], scoring.get("comparison", {})
    fused = [name for name, table in tables.items() if table in FUSED]
    if len(experts) != 1 or not fused or len(fused) == len(tables):
        return []
    own = [name for name, table in tables.items() if table == f"data/rebalanced/{experts[0]}.parquet"]
    for name in fused:
        del tables[name]
    if comparison.get("system", "fused") in fused:
        comparison.update({"system": (own or [*tables])[0], "against": []})
    comparison["against"] = [name for name in comparison.get("against", []) if name not in fused]
    scoring |= {"comparison": comparison, "baselines": [n for n in scoring.get("baselines", []) if n not in fused]}
    return fused
