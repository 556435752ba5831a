"""A paper's tables as a Markdown page: published next to obtained, and apart from them the runs on stand-ins."""

import json
from collections.abc import Sequence
from typing import Any

SUFFIXES = {"": "", "_resubstitution": " (resubstitution)", "_crossfitted": " (cross-fitted)"}


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
        lines += [f"## {table['title']}", "", *_published(paper, table, obtained), ""]
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
    changes = "".join(
        f" -S {key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in sets.items()
    )
    return f"python -m pipeline_lib.recipes.apply {recipe}{option} && dvc exp run{changes}"


def _published(paper: dict[str, Any], table: dict[str, Any], obtained: dict[str, Any]) -> list[str]:
    """Return the table: what was published, what was obtained, and the runs that its rows are."""
    printed = [name for name in table["columns"] if any(name in row["published"] for row in table["rows"])]
    ours = [name for name, place in table["columns"].items() if place]
    lines = _row(["", "model", *(f"{name}, published" for name in printed), *(f"{name}, obtained" for name in ours)])
    lines += _row(["---"] * (2 + len(printed) + len(ours)))
    runs: dict[str, list[str]] = {}
    for row in table["rows"]:
        cells = [_figure(table, row["published"].get(name)) for name in printed]
        if "system" not in row:
            lines += _row([row["row"], row["model"], *cells, *([""] * len(ours))])
            continue
        scores = obtained.get(key_of(table, row, False), {}).get("scores")
        lines += _row([row["row"], row["model"], *cells, *(_obtained(scores, name) for name in ours)])
        runs.setdefault(command(*run_of(paper, table, row)), []).append(row["row"])
    return [*lines, "", *(f"- {', '.join(names)}: `{typed}`" for typed, names in runs.items())]


def _stand_ins(table: dict[str, Any], obtained: dict[str, Any]) -> list[str]:
    """Return the rows that ran on stand-ins, without the published figures: they are of other data."""
    ours = [name for name, place in table["columns"].items() if place]
    rows = [row for row in table["rows"] if "system" in row and key_of(table, row, True) in obtained]
    if not rows:
        return []
    lines = _row(["", "stand-in for", *ours]) + _row(["---"] * (2 + len(ours)))
    for row in rows:
        scores = obtained[key_of(table, row, True)]["scores"]
        lines += _row([row["row"], row["model"], *(_obtained(scores, name) for name in ours)])
    return lines


def _obtained(scores: dict[str, Any] | None, column: str) -> str:
    if scores is None:
        return "not run"
    cells = [_number(scores[column + suffix]) + said for suffix, said in SUFFIXES.items() if column + suffix in scores]
    return "; ".join(cells) or "not scored"


def _number(values: Sequence[float]) -> str:
    score, *bounds = (f"{value:.3f}" for value in values)
    return f"{score} [{', '.join(bounds)}]" if bounds else score


def _figure(table: dict[str, Any], value: float | None) -> str:
    """Return a published figure with the paper's digits: F1 three, CCC four."""
    digits = 4 if any("ccc" in (place or "") for place in table["columns"].values()) else 3
    return "–" if value is None else f"{value:.{digits}f}"


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
