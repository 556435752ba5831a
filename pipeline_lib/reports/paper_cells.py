"""A cell of a paper's table: where a run keeps its score, and how the paper prints it.

A column is a place, or a mapping that has one under ``place``:

- ``test.macro_f1``: split and metric of ``metrics/scores.json``, of the row's ``system``.
- ``test.audio.ua``: the same of what the expert says from audio alone: the system ``<system>_audio``, or the one that a
  row's ``system: {audio: ..., text: ..., both: ...}`` names. ``both`` is what it says from all that an utterance has.
- ``metrics/finetuning/{system}.json:parameters.total``: a number in another file of metrics.

Beside ``place`` may stand ``set``, parameters of this column's run; ``times`` and ``form``, how the number is printed
(``percent: true`` is times 100, one digit); or instead of it ``mean_of``, other columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCORES = "metrics/scores.json"
SUFFIXES = {"": "", "_resubstitution": " (resubstitution)", "_crossfitted": " (cross-fitted)"}
EVERYTHING = "both"


@dataclass(frozen=True)
class Column:
    """One column of a table, as a row reads it."""

    name: str
    place: str | None = None
    mean_of: tuple[str, ...] = ()
    sets: dict[str, Any] = field(default_factory=dict)
    times: float = 1.0
    form: str = ".3f"

    @property
    def is_ours(self) -> bool:
        """Whether a run of ours can fill it."""
        return self.place is not None or bool(self.mean_of)

    def number(self, value: float) -> str:
        """Return a figure as the paper prints it, in the paper's unit."""
        return format(value, self.form).removesuffix(".")  # "#.2g" keeps a last 0, and gives 11 a point


def columns_of(table: dict[str, Any], row: dict[str, Any] | None = None) -> list[Column]:
    """Return the table's columns in order; a row may have other places for some."""
    own = (row or {}).get("columns", {})
    return [_column(name, own.get(name, said), table.get("form", ".3f")) for name, said in table["columns"].items()]


def published(table: dict[str, Any], row: dict[str, Any]) -> dict[str, float]:
    """Return a row's published figures by column: the paper names them, or lists them in the columns' order."""
    said = row["published"]
    if not isinstance(said, dict):
        said = dict(zip(table["columns"], said, strict=False))
    return {name: value for name, value in said.items() if value is not None}


def system_of(row: dict[str, Any], view: str = EVERYTHING) -> str:
    """Return which system of ``scoring.tables`` a row reads."""
    system = row["system"]
    if isinstance(system, str):
        return system if view == EVERYTHING else f"{system}_{view}"
    return system[view]


def file_of(place: str, row: dict[str, Any]) -> tuple[str, str]:
    """Return the file of metrics that holds a place, and the dotted place in it."""
    if ":" not in place:
        return SCORES, place
    name, inside = place.split(":")
    return name.replace("{system}", system_of(row)) if "{system}" in name else name, inside


def score(column: Column, row: dict[str, Any], metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return what a run says of the cell: by suffix (resubstitution, cross-fitted) the score and its interval.

    Args:
        column: with a place
        row: of the table
        metrics: the run's files of metrics, read
    """
    name, inside = file_of(column.place or "", row)
    if name != SCORES:
        value = _at(metrics.get(name, {}), inside)
        return {} if value is None else {"": [value]}
    split, *view, metric = inside.split(".")
    found = {}
    for suffix in SUFFIXES:
        each = metrics[SCORES].get(split, {}).get(system_of(row, *view) + suffix, {})
        if metric in each:
            found[suffix] = [each[metric + end] for end in ("", "_lo", "_hi") if metric + end in each]
    return found


def _column(name: str, said: Any, form: str) -> Column:
    if not isinstance(said, dict):
        return Column(name, said, form=form)
    percent = said.get("percent", False)
    return Column(
        name,
        said.get("place"),
        tuple(said.get("mean_of", ())),
        said.get("set", {}),
        100.0 if percent else said.get("times", 1.0),
        ".1f" if percent else said.get("form", form),
    )


def _at(values: Any, dotted: str) -> float | None:
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
