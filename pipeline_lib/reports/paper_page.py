"""A paper's tables as a Markdown page: published next to obtained, and apart from them the runs on stand-ins."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pipeline_lib.reports.paper_cells import SUFFIXES, Column, columns_of, published
from pipeline_lib.scoring.cells import METHODS

EARLIER = "percentile"  # of rows without a record: no other method was there
WIDEST = 13  # columns; of a wider table published and obtained share a cell


def key_of(table: dict[str, Any], row: dict[str, Any], small: bool) -> str:
    """Return the key of a row's scores.

    Args:
        table: of a file of papers/
        row: of the table
        small: of the run on stand-ins
    """
    return f"{table['title']} {row['row']}{' on stand-ins' if small else ''}"


def run_of(paper: dict[str, Any], table: dict[str, Any], row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the recipe of a row and the parameters that the row changes.

    Args:
        paper: a file of papers/
        table: of the paper
        row: of the table
    """
    return row.get("recipe") or table.get("recipe") or paper["recipe"], dict(row.get("set", {}))


def page(paper: dict[str, Any], obtained: dict[str, Any]) -> str:
    """Return the page.

    Args:
        paper: a file of papers/
        obtained: what ``paper_table.fill`` returns
    """
    lines = [f"# {paper['paper']}", ""]
    lines += [f"{_brackets(obtained)} A score on what something was fitted on is marked", ""]
    lines[-2] += " *resubstitution*, as the paper prints it; *cross-fitted* is the same utterances fitted on others;"
    lines[-2] += " *selection*: an epoch or a layer was chosen there."
    for table in paper["tables"]:
        lines += [f"## {table['title']}", "", *([table["note"].strip(), ""] if "note" in table else [])]
        lines += [*_published(paper, table, obtained), ""]
    stand_ins = [(table, _stand_ins(table, obtained)) for table in paper["tables"]]
    if any(rows for _, rows in stand_ins):
        notices = sorted({column["notice"] for key, column in obtained.items() if key.endswith("on stand-ins")})
        lines += ["# The same rows on stand-ins", "", *(f"> **{notice}**" for notice in notices), ""]
        for table, rows in stand_ins:
            lines += [f"## {table['title']}, on stand-ins", "", *rows, ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def _brackets(obtained: dict[str, Any]) -> str:
    """Return which intervals the brackets are; rows that an earlier version scored have others."""
    rows: dict[str, list[str]] = {}
    for key, column in obtained.items():
        rows.setdefault(column.get("intervals", EARLIER), []).append(key)
    if len(rows) < 2:
        how = f" ({METHODS[next(iter(rows))]})" if rows else ""
        return f"Brackets are intervals over speakers{how}."
    parts = "; ".join(f"{METHODS[method]} of {', '.join(keys)}" for method, keys in sorted(rows.items()))
    return f"Brackets are intervals over speakers: {parts}."


def command(recipe: str, sets: dict[str, Any], small: bool = False) -> str:
    """Return the command line of a run.

    Args:
        recipe: its name
        sets: changed parameters
        small: with the recipe's stand-ins
    """
    option = " --small" if small else ""
    changes = "".join(f" -S {shlex.quote(f'{key}={_typed(value)}')}" for key, value in sets.items())
    return f"ser apply {recipe}{option} && dvc exp run{changes}"


def _typed(value: Any) -> str:
    """Return a value as it is typed behind -S."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _published(paper: dict[str, Any], table: dict[str, Any], obtained: dict[str, Any]) -> list[str]:
    """Return the table: what was published, what was obtained, and the runs that its rows are."""
    columns = columns_of(table)
    printed = [column for column in columns if any(column.name in published(table, row) for row in table["rows"])]
    ours = [column for column in columns if column.is_ours]
    wide = len(printed) + len(ours) > WIDEST
    head = [*(f"{column.name}, published" for column in printed), *(f"{column.name}, obtained" for column in ours)]
    head = [column.name for column in columns] if wide else head
    lines = ["In each cell: published / obtained.", ""] if wide else []
    lines += _row(["", "model", *head]) + _row(["---"] * (2 + len(head)))
    runs: dict[str, list[str]] = {}
    for row in table["rows"]:
        figures, scores = published(table, row), obtained.get(key_of(table, row, False), {}).get("scores")
        printed_cells = {
            column.name: column.number(figures[column.name]) if column.name in figures else "–" for column in printed
        }
        obtained_cells = {
            column.name: _obtained(scores, column) if "system" in row else row.get("absent", "") for column in ours
        }
        cells = _both(columns, printed_cells, obtained_cells) if wide else _apart(printed_cells, obtained_cells)
        lines += _row([row["row"], row["model"], *cells])
        if "system" in row:
            recipe, own = run_of(paper, table, row)
            for command_line in (command(recipe, own | column.sets) for column in ours if column.place):
                named = runs.setdefault(command_line, [])
                named += [row["row"]] if row["row"] not in named else []
    return [*lines, "", *(f"- {', '.join(names)}: `{command_line}`" for command_line, names in runs.items())]


def _apart(printed_cells: dict[str, str], obtained_cells: dict[str, str]) -> list[str]:
    return [*printed_cells.values(), *obtained_cells.values()]


def _both(columns: Sequence[Column], printed_cells: dict[str, str], obtained_cells: dict[str, str]) -> list[str]:
    """Return a cell a column with published and obtained figures, where there are any."""
    pairs = [(printed_cells.get(column.name, "–"), obtained_cells.get(column.name, "")) for column in columns]
    return [f"{published} / {obtained}" if obtained else published for published, obtained in pairs]


def _stand_ins(table: dict[str, Any], obtained: dict[str, Any]) -> list[str]:
    """Return the rows that ran on stand-ins, without the published figures: they are of other data."""
    ours = [column for column in columns_of(table) if column.is_ours]
    rows = [row for row in table["rows"] if "system" in row and key_of(table, row, True) in obtained]
    if not rows:
        return []
    lines = _row(["", "stand-in for", *(column.name for column in ours)]) + _row(["---"] * (2 + len(ours)))
    for row in rows:
        scores = obtained[key_of(table, row, True)]["scores"]
        lines += _row([row["row"], row["model"], *(_obtained(scores, column) for column in ours)])
    return lines


def _obtained(scores: dict[str, Any] | None, column: Column) -> str:
    """Return a cell: the score and its interval, or that there is none."""
    if scores is None:
        return "not run"
    named = {mark: scores[column.name + suffix] for suffix, mark in SUFFIXES.items() if column.name + suffix in scores}
    cells = [_number(column, values) + mark for mark, values in named.items()]
    return "; ".join(cells) or ("not run" if column.sets else "not scored")


def _number(column: Column, values: Sequence[float]) -> str:
    score, *bounds = (column.number(column.times * value) for value in values)
    return f"{score} [{', '.join(bounds)}]" if bounds else score


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
