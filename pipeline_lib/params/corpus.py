"""The section ``corpus`` of params.yaml."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.base import Settings, moved
from pipeline_lib.params.corpora import CremaDSettings, MeldSettings, PartSettings, SingleReader, TableSettings
from pipeline_lib.params.mistakes import choose
from pipeline_lib.params.split import Seed, SplitSettings

Reader = Literal[SingleReader, "several"]
WITH_OFFICIAL_SPLIT = ("msp_podcast", "meld", "table", "several")  # several: where each corpus has one
WITH_DIALOGUES = ("iemocap", "meld", "table")  # a table: by its columns dialogue and turn
WITH_GROUPS = ("iemocap", "table", "several")  # IEMOCAP's sessions, a column of a table, which of several corpora
CORPUS = "corpus"  # of several corpora: the column of folds that names them

MADE = re.compile(r"train|dev|test\d*|unlabelled|folds|(fold\d+_)?dev(_filt|_bal)?|fold\d+")  # by the corpus stage
PART_KEYS = ("reader", "merge", "attribute_scale", "crema_d", "meld", "table")
TEMPORARY = "/.dvc/tmp/exps/"  # where DVC lays the copies of dvc exp run --temp and of its queue


class BalancedSettings(Settings):
    """The subset dev_bal: as many development utterances of each label; fewer where a label has fewer."""

    per_class: Annotated[int, Field(ge=1, description="utterances of each label")] = 300
    seed: Seed = 1


DEMONSTRATIONS = "data/demonstration/"  # folder of the corpora that the stage demonstration makes
TABLES = "corpora"  # the project's folder of tables that `ser start` writes


class MaxQuarantinedSettings(Settings):
    """How much of a split may be lost before the corpus stage stops; the larger of the two holds."""

    share: Annotated[float, Field(ge=0, le=1, description="of the rows of any split; 1: never stop")] = 0.05
    files: Annotated[int, Field(ge=0, description="so many are taken however small the split")] = 5


class CorpusSettings(Settings):
    """Which corpus, where, and how it is cut."""

    old_keys = {"workers": moved("corpus.workers")}

    reader: Annotated[
        Reader,
        Field(description="the corpus's layout; table: a CSV or Parquet file of one's own; several: those of corpora"),
    ]
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
    meld: MeldSettings = MeldSettings()
    table: TableSettings = TableSettings()
    corpora: Annotated[
        dict[str, PartSettings],
        Field(
            description="several: name of each corpus, which begins its utterances' and speakers' names, and how read"
        ),
    ] = {}

    @model_validator(mode="after")
    def _several(self) -> Self:
        if (self.reader == "several") != bool(self.corpora):
            expected = "an entry a corpus" if self.reader == "several" else "{}: only reader several reads it"
            raise ValueError(f"reader is {self.reader} and corpora names {list(self.corpora)}, expected {expected}")
        if self.reader != "several":
            return self
        odd = sorted(name for name in self.corpora if not re.fullmatch(r"[a-z][a-z0-9_]*", name))
        if odd:
            raise ValueError(f"corpora names {odd}, expected lower-case letters, digits and _, a letter first")
        folders = [part.folder or name for name, part in self.corpora.items()]
        if len(folders) < 2 or len({*folders}) < len(folders):
            raise ValueError(f"corpora has the folders {folders}, expected two or more, each another")
        taken = sorted(name for name in self.corpora if MADE.fullmatch(name))
        if taken:
            raise ValueError(f"corpora names {taken}, which are splits or subsets; call these corpora otherwise")
        folds = self.split.folds
        if self.split.method == "folds" and folds.by == "column" and folds.column != CORPUS:
            raise ValueError(f"split.folds.column is {folds.column!r}; of several corpora it is {CORPUS!r}")
        return self

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
        if self.reader == "meld" and self.meld.label == "sentiment" and labels is None:
            raise ValueError(
                "labels is null and meld.label sentiment, expected labels: set them to [negative, neutral, positive]"
            )
        pseudo = sorted({*(labels or []), *merge, *merge.values()} & {*PSEUDO})
        if pseudo:
            raise ValueError(f"labels or merge names {pseudo}: O (other) and X (no agreement) are never scored")
        chained = sorted({*merge} & {*merge.values()})
        if chained:
            raise ValueError(f"merge turns {chained} into something else and something else into it; name the last one")
        return self


def part_of(settings: CorpusSettings, name: str) -> CorpusSettings:
    """Return the section of one of several corpora, as if it were alone.

    Args:
        settings: the section ``corpus``, of reader several
        name: of the corpus
    """
    part = settings.corpora[name]
    alone: dict[str, Any] = {"corpora": {}, "name": name, "labels": None, "exclude": []}
    alone["root"] = str(folder_of(settings, name))
    if settings.split.method != "official":  # then no column of a table says where its utterances belong
        alone["split"] = SplitSettings(method="speakers")
    return settings.model_copy(update=alone | {key: getattr(part, key) for key in PART_KEYS})


def folder_of(settings: CorpusSettings, name: str) -> Path:
    """Return the folder of one of several corpora.

    Args:
        settings: the section ``corpus``, of reader several
        name: of the corpus

    Raises:
        InputError: outside corpus.root, by ``..`` or by a link
    """
    root, named = Path(settings.root), settings.corpora[name].folder or name
    folder = root / named
    if not folder.resolve().is_relative_to(root.resolve()) or folder.resolve() == root.resolve():
        raise InputError(
            f"corpus.corpora.{name}: the folder {named!r} lies at {folder.resolve()}, not below corpus.root"
            f" {root.resolve()}; expected a folder in it (no link that leaves it)"
        )
    return folder


def known_subsets(settings: CorpusSettings) -> list[str]:
    """Return the splits and subsets that the corpus stage itself can make, in order; a table may name more.

    Args:
        settings: the section ``corpus``
    """
    folds, corpora = settings.split.folds, list(settings.corpora)
    if settings.split.method != "folds":
        return ["train", "dev", "test", "dev_filt", "dev_bal", *corpora]
    drawn = folds.k if isinstance(folds.k, int) and folds.by != "column" else len(corpora)
    number = len(folds.assignment) or drawn
    parts = ("", "_dev", "_dev_filt", "_dev_bal")
    return ["folds", *(f"fold{fold}{part}" for fold in range(number) for part in parts), *corpora]


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
        what = "is a file, expected the corpus's folder" if root.exists() else "does not exist, expected a folder"
        where = "" if root.is_absolute() else f", from here {root.absolute()}"
        cause = "a file of the corpus in place of its folder?" if root.exists() else "a typo, or a disk not mounted?"
        remedy = "set corpus.root to the folder that holds the corpus"
        if where and TEMPORARY in root.absolute().as_posix():
            remedy = "give an absolute path: dvc exp run --temp works in a copy of the files that git tracks alone"
        raise InputError(f"corpus.root {settings.root!r} {what}{where} ({cause}); {remedy}")
    try:
        with os.scandir(root) as entries:
            if next(entries, None) is None:
                raise InputError(
                    f"corpus.root {settings.root!r} is an empty folder, expected a corpus in it (a disk that is not"
                    " mounted?); mount it, or set corpus.root to another folder"
                )
    except OSError as error:
        raise InputError(f"corpus.root {settings.root!r} cannot be opened: {error.strerror}") from None
    for name in settings.corpora:
        check_root(part_of(settings, name))
    if settings.reader == "table" and not table_path(settings).is_file():
        path = table_path(settings)
        tables = sorted(e.name for e in root.iterdir() if e.suffix.lower() in (".csv", ".parquet") and e.is_file())
        what = "is a folder" if path.exists() else "does not exist"
        expected = f"expected one of {tables}" if tables else "expected a .csv or .parquet, and the folder holds none"
        otherwise = (
            " (a table of another name, or elsewhere?); set corpus.table.file to the table's name below corpus.root"
        )
        raise InputError(
            f"corpus.table.file is {settings.table.file!r}, and {path} {what}, {expected}"
            f"{choose(settings.table.file, tables, otherwise)}"
        )


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
