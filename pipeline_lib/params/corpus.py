"""The section ``corpus`` of params.yaml."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.base import Settings, moved

Reader = Literal["ravdess", "emodb", "crema_d", "nemo", "tess", "msp_podcast", "iemocap", "meld", "table"]
WITH_OFFICIAL_SPLIT = ("msp_podcast", "meld", "table")
WITH_GROUPS = ("iemocap", "table")  # IEMOCAP's sessions, a column of a table

TEMPORARY = "/.dvc/tmp/exps/"  # where DVC lays the copies of dvc exp run --temp and of its queue
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


class BalancedSettings(Settings):
    """The subset dev_bal: as many development utterances of each label; fewer where a label has fewer."""

    per_class: Annotated[int, Field(ge=1, description="utterances of each label")] = 300
    seed: Seed = 1


class CremaDSettings(Settings):
    """CREMA-D was rated by ear, by eye and by both."""

    emotion: Annotated[
        Literal["voice", "face", "both", "intended"],
        Field(description="plurality of the votes on that presentation, X on a tie; intended: what the actor was told"),
    ] = "voice"


DEMONSTRATIONS = "data/demonstration/"  # folder of the corpora that the stage demonstration makes
TABLES = "corpora"  # the project's folder of tables that `ser start` writes


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


class MaxQuarantinedSettings(Settings):
    """How much of a split may be lost before the corpus stage stops; the larger of the two holds."""

    share: Annotated[float, Field(ge=0, le=1, description="of the rows of any split; 1: never stop")] = 0.05
    files: Annotated[int, Field(ge=0, description="so many are taken however small the split")] = 5


class CorpusSettings(Settings):
    """Which corpus, where, and how it is cut."""

    old_keys = {"workers": moved("corpus.workers")}

    reader: Annotated[Reader, Field(description="the corpus's layout; table: a CSV or Parquet file of one's own")]
    root: Annotated[str, Field(min_length=1, description="folder of the corpus, anywhere on disk")]
    name: Annotated[str | None, Field(description="how tables call it; null: the reader's name")] = None
    notice: Annotated[str, Field(description="a sentence shown wherever its numbers are shown")] = ""
    labels: Annotated[list[str] | None, Field(description="scored emotions in order; null: the corpus's own")] = None
    merge: Annotated[
        dict[str, str] | None, Field(description="emotion: what it counts as; null: the corpus's own custom, {}: none")
    ] = None
    split: SplitSettings = SplitSettings()
    allow_speaker_leak: Annotated[bool, Field(description="speakers may cross splits; every report then says so")] = (
        False
    )
    dev_bal: BalancedSettings = BalancedSettings()
    min_duration_s: Annotated[float, Field(ge=0.1, description="shorter recordings are quarantined")] = 0.1
    max_duration_s: Annotated[float | None, Field(gt=0, description="longer ones are quarantined; null: none")] = 120.0
    exclude: Annotated[
        list[str], Field(description="utterance_ids that are quarantined, such as those that kill a worker")
    ] = []
    max_clipped_share: Annotated[
        float, Field(ge=0, le=1, description="recordings with more of their samples at full scale are quarantined")
    ] = 1.0
    on_bad: Annotated[
        Literal["drop", "keep_rest"],
        Field(description="an utterance without a usable recording: dropped, or kept with its reference text alone"),
    ] = "drop"
    max_quarantined: MaxQuarantinedSettings = MaxQuarantinedSettings()
    attribute_scale: Annotated[
        list[float] | None, Field(min_length=2, max_length=2, description="table: lowest and highest; null: [1, 7]")
    ] = None
    crema_d: CremaDSettings = CremaDSettings()
    table: TableSettings = TableSettings()

    @model_validator(mode="after")
    def _split_fits_the_reader(self) -> Self:
        if self.split.method == "official" and self.reader not in WITH_OFFICIAL_SPLIT:
            raise ValueError(
                f"split.method is official, {self.reader} has no official split; expected speakers or random"
            )
        if self.split.method == "column" and self.reader != "table":
            raise ValueError(f"split.method column belongs to reader table, reader is {self.reader}")
        if self.split.method == "folds" and self.split.folds.by == "column" and self.reader not in WITH_GROUPS:
            raise ValueError(
                f"split.folds.by is column, {self.reader} has none that names folds; expected by: speakers, or one of"
                f" the readers {list(WITH_GROUPS)}"
            )
        return self

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        if self.max_duration_s is not None and self.max_duration_s <= self.min_duration_s:
            raise ValueError(
                f"max_duration_s {self.max_duration_s:g} is not above min_duration_s {self.min_duration_s:g}"
            )
        if self.attribute_scale is not None:
            if self.reader != "table":
                raise ValueError(f"attribute_scale belongs to reader table; {self.reader} has a scale of its own: null")
            low, high = self.attribute_scale
            if not low < high:
                raise ValueError(f"attribute_scale is [{low:g}, {high:g}], expected the lowest value first")
        return self

    @model_validator(mode="after")
    def _labels(self) -> Self:
        labels, merge = self.labels, self.merge or {}
        if labels is not None:
            if len(labels) < 2:
                raise ValueError(f"labels is {labels}, expected at least two emotions, or null for the corpus's own")
            twice = sorted({label for label in labels if labels.count(label) > 1})
            if twice:
                raise ValueError(f"labels names {twice} twice")
            gone = sorted({*labels} & {*merge})
            if gone:
                raise ValueError(f"labels names {gone}, which merge turns into something else")
        pseudo = sorted({*(labels or []), *merge, *merge.values()} & {*PSEUDO})
        if pseudo:
            raise ValueError(f"labels or merge names {pseudo}: O (other) and X (no agreement) are never scored")
        chained = sorted({*merge} & {*merge.values()})
        if chained:
            raise ValueError(f"merge turns {chained} into something else and something else into it; name the last one")
        return self


def known_subsets(settings: CorpusSettings) -> list[str]:
    """Return the splits and subsets that the corpus stage itself can make, in order; a table may name more.

    Args:
        settings: the section ``corpus``
    """
    folds = settings.split.folds
    if settings.split.method != "folds":
        return ["train", "dev", "test", "dev_filt", "dev_bal"]
    drawn = folds.k if isinstance(folds.k, int) and folds.by != "column" else 0
    number = len(folds.assignment) or drawn
    parts = ("", "_dev", "_dev_filt", "_dev_bal")
    return ["folds", *(f"fold{fold}{part}" for fold in range(number) for part in parts)]


def table_path(settings: CorpusSettings) -> Path:
    """Return where the table of ``reader: table`` lies: below the root, or in the project's ``TABLES``.

    Raises:
        InputError: outside both
    """
    is_own = settings.table.file.startswith(f"{TABLES}/")
    folder = Path(TABLES) if is_own else Path(settings.root)
    path = Path(settings.table.file) if is_own else folder / settings.table.file
    if not path.resolve().is_relative_to(folder.resolve()):
        where = "the project's folder" if is_own else "corpus.root"
        raise InputError(
            f"corpus.table.file {settings.table.file!r} lies at {path.resolve()}, outside {where} {folder.resolve()};"
            " expected a table below it, so that a change of it is noticed"
        )
    return path


def check_root(settings: CorpusSettings) -> None:
    """Refuse a root that is not there, without reading it.

    Raises:
        InputError: no such folder, an empty one, or one without the table that ``reader: table`` reads
    """
    root = Path(settings.root)
    if not root.is_dir():
        said = "is a file, expected the corpus's folder" if root.exists() else "does not exist"
        where = "" if root.is_absolute() else f" (looked for {root.absolute()})"
        if where and TEMPORARY in root.absolute().as_posix():
            where += "; dvc exp run --temp works in a copy of the files that git tracks alone: give an absolute path"
        raise InputError(f"corpus.root {settings.root!r} {said}{where}")
    try:
        with os.scandir(root) as entries:
            if next(entries, None) is None:
                raise InputError(f"corpus.root {settings.root!r} is an empty folder (a disk that is not mounted?)")
    except OSError as error:
        raise InputError(f"corpus.root {settings.root!r} cannot be opened: {error.strerror}") from None
    if settings.reader == "table" and not table_path(settings).is_file():
        path = table_path(settings)
        tables = sorted(e.name for e in root.iterdir() if e.suffix.lower() in (".csv", ".parquet") and e.is_file())
        there = f"expected one of {tables}" if tables else "the folder holds no .csv and no .parquet"
        what = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {what} (corpus.table.file); {there}")


def demonstration_left(settings: CorpusSettings) -> list[str]:
    """Return, a line each, what says that another corpus is the demonstration: its name, its notice."""
    if settings.root.startswith(DEMONSTRATIONS):
        return []
    other = f"and corpus.root {settings.root!r} is another corpus: set"
    left = {
        f"corpus.name is 'demonstration', {other} its name, or null": settings.name == "demonstration",
        f"corpus.notice is the demonstration's, {other} corpus.notice: ''": settings.notice.startswith("Synthetic "),
    }
    return [line for line, holds in left.items() if holds]
