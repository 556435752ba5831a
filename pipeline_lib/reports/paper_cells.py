"""A cell of a paper's table: the position of its score in a run's metrics, and the paper's number format.

A column is a place, or a mapping that has one under ``place``:

- ``test.macro_f1``: split and metric of ``metrics/details.json``, of the row's ``system``.
- ``test.audio.ua``: the same of what the expert says from audio alone: the system ``<system>_audio``, or the one that a
  row's ``system: {audio: ..., text: ..., both: ...}`` names. ``both`` is what it says from all that an utterance has.
- ``over_folds.ua``: the mean over the folds of a cross-validation; ``folds.ua`` is of all predictions pooled.
- ``metrics/finetuning/{system}.json:parameters.total``: a number in another file of metrics.

Beside ``place`` may stand ``set``, parameters of this column's run; ``times`` and ``form``, how the number is printed
(``percent: true`` is times 100, one digit).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCORES = "metrics/details.json"
SUFFIXES = {
    "": "",
    "_resubstitution": " (resubstitution)",
    "_selection": " (selection)",
    "_crossfitted": " (cross-fitted)",
    "_crossfitted_selection": " (cross-fitted, selection)",
}
EVERYTHING = "both"
OVER_FOLDS = "over_folds"


@dataclass(frozen=True)
class Column:
    """One column of a table, as a row reads it.

    Attributes:
        name: as the paper prints it
        place: of the score in the metrics, None for a published column
        sets: parameters of this column's run
        times: factor before printing
        form: format specification of the number
    """

    name: str
    place: str | None = None
    sets: dict[str, Any] = field(default_factory=dict)
    times: float = 1.0
    form: str = ".3f"

    @property
    def is_ours(self) -> bool:
        """Whether a run of ours can fill it."""
        return self.place is not None

    def number(self, value: float) -> str:
        """Return a figure as the paper prints it, in the paper's unit."""
        return format(value, self.form).removesuffix(".")  # "#.2g" keeps a last 0, and gives 11 a point


def columns_of(table: dict[str, Any], row: dict[str, Any] | None = None) -> list[Column]:
    """Return the table's columns in order; a row may override the places of some.

    Args:
        table: of a file of papers/
        row: of the table
    """
    own = (row or {}).get("columns", {})
    return [_column(name, own.get(name, entry), table.get("form", ".3f")) for name, entry in table["columns"].items()]


def published(table: dict[str, Any], row: dict[str, Any]) -> dict[str, float]:
    """Return a row's published figures by column: a mapping, or a list in the columns' order.

    Args:
        table: of a file of papers/
        row: of the table
    """
    entry = row["published"]
    if not isinstance(entry, dict):
        entry = dict(zip(table["columns"], entry, strict=False))
    return {name: value for name, value in entry.items() if value is not None}


def system_of(row: dict[str, Any], view: str = EVERYTHING) -> str:
    """Return the system of ``scoring.tables`` that a row reads.

    Args:
        row: of a table, with ``system``
        view: modality that the system predicts from, ``both`` for all
    """
    system = row["system"]
    if isinstance(system, str):
        return system if view == EVERYTHING else f"{system}_{view}"
    return system[view]


def file_of(place: str, row: dict[str, Any]) -> tuple[str, str]:
    """Return the file of metrics that holds a place, and the dotted key in it.

    Args:
        place: of a column
        row: of the table, for its system
    """
    if ":" not in place:
        return SCORES, place
    name, dotted = place.split(":")
    return name.replace("{system}", system_of(row)) if "{system}" in name else name, dotted


def score(column: Column, row: dict[str, Any], metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return a run's scores for the cell.

    Args:
        column: with a place
        row: of the table
        metrics: the run's files of metrics by path, parsed

    Returns:
        by suffix (resubstitution, selection, cross-fitted) the score and the bounds of its interval
    """
    name, dotted = file_of(column.place or "", row)
    if name != SCORES:
        value = _at(metrics.get(name, {}), dotted)
        return {} if value is None else {"": [value]}
    split, *view, metric = dotted.split(".")
    scores = {}
    for suffix in SUFFIXES:
        values = metrics[SCORES].get(split, {}).get(system_of(row, *view) + suffix, {})
        if split == OVER_FOLDS and metric in values:
            scores[suffix] = [values[metric]["mean"]]
        elif metric in values:
            scores[suffix] = [values[metric + end] for end in ("", "_lo", "_hi") if metric + end in values]
    return scores


def _column(name: str, entry: Any, form: str) -> Column:
    if not isinstance(entry, dict):
        return Column(name, entry, form=form)
    percent = entry.get("percent", False)
    return Column(
        name,
        entry.get("place"),
        entry.get("set", {}),
        100.0 if percent else entry.get("times", 1.0),
        ".1f" if percent else entry.get("form", form),
    )


def _at(values: Any, dotted: str) -> float | None:
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
