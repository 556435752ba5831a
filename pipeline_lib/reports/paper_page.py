"""A paper's tables as a Markdown page: published next to obtained, and apart from them the runs on stand-ins."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pipeline_lib.reports.paper_cells import SUFFIXES, Column, columns_of, published

WIDEST = 13  # columns; of a wider table published and obtained share a cell


def key_of(table: dict[str, Any], row: dict[str, Any], small: bool) -> str:
    """Return the name under which a row's scores are kept."""
    return f"{table['title']} {row['row']}{' on stand-ins' if small else ''}"


def run_of(paper: dict[str, Any], table: dict[str, Any], row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the recipe of a row and what is set in it."""
    return row.get("recipe") or table.get("recipe") or paper["recipe"], dict(row.get("set", {}))


def page(paper: dict[str, Any], obtained: dict[str, Any]) -> str:
    """Return the page.

    Args:
        paper: a file of papers/
        obtained: what ``paper_table.fill`` returns
    """
    lines = [f"# {paper['paper']}", ""]
    lines += ["Brackets are intervals over speakers. A score on what something was fitted on is marked", ""]
    lines[-2] += " *resubstitution*, as the paper prints it; *cross-fitted* is the same utterances fitted on others."
    for table in paper["tables"]:
        lines += [f"## {table['title']}", "", *([table["note"].strip(), ""] if "note" in table else [])]
        lines += [*_published(paper, table, obtained), ""]
    shown = [(table, _stand_ins(table, obtained)) for table in paper["tables"]]
    if any(rows for _, rows in shown):
        notices = sorted({each["notice"] for key, each in obtained.items() if key.endswith("on stand-ins")})
        lines += ["# The same rows on stand-ins", "", *(f"> **{notice}**" for notice in notices), ""]
        for table, rows in shown:
            lines += [f"## {table['title']}, on stand-ins", "", *rows, ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def command(recipe: str, sets: dict[str, Any], small: bool = False) -> str:
    """Return what a user types for a run."""
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
    printed = [each for each in columns if any(each.name in published(table, row) for row in table["rows"])]
    ours = [each for each in columns if each.is_ours]
    wide = len(printed) + len(ours) > WIDEST
    head = [*(f"{each.name}, published" for each in printed), *(f"{each.name}, obtained" for each in ours)]
    head = [each.name for each in columns] if wide else head
    lines = ["In each cell: published / obtained.", ""] if wide else []
    lines += _row(["", "model", *head]) + _row(["---"] * (2 + len(head)))
    runs: dict[str, list[str]] = {}
    for row in table["rows"]:
        figures, scores = published(table, row), obtained.get(key_of(table, row, False), {}).get("scores")
        theirs = {each.name: each.number(figures[each.name]) if each.name in figures else "–" for each in printed}
        found = {each.name: _obtained(scores, each) if "system" in row else row.get("absent", "") for each in ours}
        lines += _row([row["row"], row["model"], *(_both(columns, theirs, found) if wide else _apart(theirs, found))])
        if "system" in row:
            recipe, own = run_of(paper, table, row)
            for typed in (command(recipe, own | each.sets) for each in ours if each.place):
                named = runs.setdefault(typed, [])
                named += [row["row"]] if row["row"] not in named else []
    return [*lines, "", *(f"- {', '.join(names)}: `{typed}`" for typed, names in runs.items())]


def _apart(theirs: dict[str, str], found: dict[str, str]) -> list[str]:
    return [*theirs.values(), *found.values()]


def _both(columns: Sequence[Column], theirs: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return a cell a column that holds both, as far as there is either."""
    pairs = [(theirs.get(each.name, "–"), found.get(each.name, "")) for each in columns]
    return [f"{published} / {obtained}" if obtained else published for published, obtained in pairs]


def _stand_ins(table: dict[str, Any], obtained: dict[str, Any]) -> list[str]:
    """Return the rows that ran on stand-ins, without the published figures: they are of other data."""
    ours = [each for each in columns_of(table) if each.is_ours]
    rows = [row for row in table["rows"] if "system" in row and key_of(table, row, True) in obtained]
    if not rows:
        return []
    lines = _row(["", "stand-in for", *(each.name for each in ours)]) + _row(["---"] * (2 + len(ours)))
    for row in rows:
        scores = obtained[key_of(table, row, True)]["scores"]
        lines += _row([row["row"], row["model"], *(_obtained(scores, each) for each in ours)])
    return lines


def _obtained(scores: dict[str, Any] | None, column: Column) -> str:
    """Return a cell: the score and its interval, or that there is none."""
    if scores is None:
        return "not run"
    if column.mean_of:
        if any(name not in scores for name in column.mean_of):
            return "not run"
        return column.number(column.times * sum(scores[name][0] for name in column.mean_of) / len(column.mean_of))
    named = {said: scores[column.name + suffix] for suffix, said in SUFFIXES.items() if column.name + suffix in scores}
    cells = [_number(column, values) + said for said, values in named.items()]
    return "; ".join(cells) or ("not run" if column.sets else "not scored")


def _number(column: Column, values: Sequence[float]) -> str:
    score, *bounds = (column.number(column.times * value) for value in values)
    return f"{score} [{', '.join(bounds)}]" if bounds else score


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
