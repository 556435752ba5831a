"""Probabilities of another system, read as an expert's predictions: how their table in ``posteriors/`` is laid out."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import Settings

POSTERIORS = "posteriors/"  # folder of the project with tables of other systems' probabilities
SUFFIXES = (".csv", ".parquet")
Share = Annotated[float, Field(ge=0)]
Column = Annotated[str, Field(min_length=1)]


class PosteriorsSettings(Settings):
    """How a table of another system's probabilities is read: a row an utterance, a column a label."""

    id_column: Annotated[Column, Field(description="utterance_id, path or file name, with or without its suffix")] = (
        "utterance_id"
    )
    labels: Annotated[
        dict[Column, Column],
        Field(description="column: its label; none for a column that is called as its label is"),
    ] = {}
    ignore: Annotated[list[Column], Field(description="columns that are not read")] = []
    scale: Annotated[
        Literal["probabilities", "percentages", "logits"],
        Field(description="what the numbers are; logits become probabilities by the softmax"),
    ] = "probabilities"
    tolerance: Annotated[
        float, Field(gt=0, le=0.05, description="largest distance of a row's sum from 1, as rounding leaves it")
    ] = 1e-3
    training_prior: Annotated[
        Literal["unknown", "uniform", "train", "given"],
        Field(description="label prior that the probabilities contain; train: label shares of this corpus's train"),
    ] = "unknown"
    given: Annotated[
        dict[str, Share], Field(description="training_prior given: each label's share; they are divided by their sum")
    ] = {}
    fitted_on: Annotated[
        list[str],
        Field(description="splits and subsets that the system was fitted on: a score there is resubstitution"),
    ] = []
    chosen_on: Annotated[
        list[str],
        Field(description="splits and subsets on which something of it was only chosen: its epoch, its layer"),
    ] = []

    @field_validator("given")
    @classmethod
    def _shares_are_something(cls, given: dict[str, float]) -> dict[str, float]:
        if given and not sum(given.values()) > 0:
            raise ValueError("shares sum to 0, expected at least one above 0")
        return given

    @field_validator("labels")
    @classmethod
    def _a_label_has_one_column(cls, labels: dict[str, str]) -> dict[str, str]:
        twice = sorted({label for label in labels.values() if [*labels.values()].count(label) > 1})
        if twice:
            raise ValueError(f"{twice} are of several columns, expected one column a label")
        return labels

    @model_validator(mode="after")
    def _a_given_prior_is_given(self) -> Self:
        if (self.training_prior == "given") != bool(self.given):
            raise ValueError(
                f"training_prior is {self.training_prior!r} and given is {self.given}: expected shares in given, one a"
                " label, where training_prior is 'given', and {} elsewhere"
            )
        return self


def misplaced(source: str) -> str | None:
    """Return why a slot that begins with ``POSTERIORS`` cannot be such a table, None where it can.

    Args:
        source: the slot
    """
    path = PurePosixPath(source)
    if ".." in path.parts or path.as_posix() != source:
        return f"expected a path below {POSTERIORS} without '..' and without empty parts"
    if path.suffix.lower() not in SUFFIXES:
        return f"expected a table that ends in one of {list(SUFFIXES)}"
    return None


def table_path(source: str, where: str) -> Path:
    """Return where a table of probabilities lies.

    Args:
        source: the slot, relative to the project
        where: dotted name of the slot, for messages

    Raises:
        InputError: it does not exist, is no file, or a link leads out of the folder
    """
    path, folder = Path(source), Path(POSTERIORS)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"{where} {source!r} lies at {path.resolve()}, outside the project's folder {folder.resolve()}; expected a"
            " file in it: put the table there in place of a link"
        )
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        there = sorted(e.name for e in folder.iterdir() if e.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        tables = f"expected one of {there}" if there else f"{POSTERIORS} holds no .csv and no .parquet"
        raise InputError(f"{where} {source!r} {what}; {tables}")
    return path
