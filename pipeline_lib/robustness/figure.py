"""figures/robustness.png: a panel a condition, a line a system, clean on the left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_lib.reports import drawing
from pipeline_lib.robustness.levels import CLEAN
from pipeline_lib.robustness.score import METRICS


def draw(path: Path, record: Mapping[str, Any]) -> None:
    """Draw the first metric that a system has, of every system at every level, with its intervals.

    Args:
        path: the PNG file
        record: see ``report.scored``
    """
    clean = [row for row in record["levels"] if row["condition"] == CLEAN.condition]
    conditions = dict.fromkeys(row["condition"] for row in record["levels"] if row not in clean)
    names = list(dict.fromkeys(name for row in record["levels"] for name in row["systems"]))
    metric = next((m for m in METRICS if any(m in row["systems"].get(n, {}) for n in names for row in clean)), None)
    if metric is None or not conditions:
        return
    figure = drawing.begin(2.6 * len(conditions) + 1.2, 3.4, record["notice"])
    panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    marks = drawing.style(names)
    for axes, condition in zip(panels, conditions, strict=True):
        rows = [*clean, *(row for row in record["levels"] if row["condition"] == condition)]
        for name in names:
            points = [(i, row["systems"][name]) for i, row in enumerate(rows) if metric in row["systems"].get(name, {})]
            places, values = [i for i, _ in points], [value[metric] for _, value in points]
            bounds = [
                [v[metric] - v.get(f"{metric}_lo", v[metric]) for _, v in points],
                [v.get(f"{metric}_hi", v[metric]) - v[metric] for _, v in points],
            ]
            colour, mark = marks[name]
            axes.errorbar(
                places, values, bounds, color=colour, marker=mark, markersize=4, linewidth=1.2, capsize=2, label=name
            )
        axes.set_xticks(range(len(rows)), [row["words"] or CLEAN.name for row in rows], rotation=45, fontsize=7)
        axes.set_title(condition, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(METRICS[metric])
    panels[-1].legend(frameon=False, fontsize=7)
    drawing.write(path, figure)
