"""Draw the pictures of README.md and docs/: ``python -m docs.pictures``.

``docs/pipeline.svg`` is the pipeline, ``docs/levels.svg`` the packages by level, as ``tests/test_levels.py`` has them;
``docs/result.svg`` is RAVDESS with real weights beside published figures, read from metrics/paper_tables/emobox.json,
which ``ser table emobox`` writes.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pipeline_lib.command import run
from pipeline_lib.recipes.paper_table import PAPERS, read_paper
from pipeline_lib.reports.paper_page import key_of
from tests.test_levels import LEVELS

HERE = Path(__file__).parent
INK, QUIET = "#1f2933", "#7b8794"
COLOURS = {"audio": "#3b7dd8", "text": "#e08a1e", "fused": "#2f9e6e"}
CHANCE = 100 / 8  # UA of eight emotions
NOTE = (
    "Grey: frozen encoders, published (EmoBox, Interspeech 2024). Blue and green: obtained here, Whisper base\n"
    "(20 M, frozen), 95 % intervals over actors. ¹ also reads the tested speakers' unlabelled recordings.\n"
    "What differs in protocol: metrics/paper_tables/emobox.md."
)
STYLE = {"svg.hashsalt": "pictures", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}

# stage: (column, row), what it writes
STAGES = {
    "corpus": ((0, 0), "manifest"),
    "transcription": ((1, 0), "transcripts"),
    "embedding": ((2, -1), "layers"),
    "finetuning\naudio": ((2, 1), "posteriors"),
    "finetuning\ntext": ((2, 0), "posteriors"),
    "rebalancing\naudio": ((3, 1), "prior replaced"),
    "rebalancing\ntext": ((3, 0), "prior replaced"),
    "rebalancing\nlayers": ((3, -1), "back end and prior"),
    "fusion": ((4, 0.5), "one posterior"),
    "scoring": ((5, 0.5), "scores, plots"),
}
ARROWS = [
    ("corpus", "transcription"),
    ("corpus", "finetuning\naudio"),
    ("corpus", "embedding"),
    ("transcription", "finetuning\ntext"),
    ("embedding", "rebalancing\nlayers"),
    ("finetuning\naudio", "rebalancing\naudio"),
    ("finetuning\ntext", "rebalancing\ntext"),
    ("rebalancing\naudio", "fusion"),
    ("rebalancing\ntext", "fusion"),
    ("rebalancing\nlayers", "fusion"),
    ("fusion", "scoring"),
]
WIDTH, HEIGHT, STEP_X, STEP_Y = 1.5, 0.74, 2.0, 1.15


def pipeline(path: Path) -> None:
    """Draw the stages and what flows between them."""
    figure, axes = plt.subplots(figsize=(11, 3.7))
    for source, target in ARROWS:
        _arrow(axes, STAGES[source][0], STAGES[target][0])
    for name, ((column, row), writes) in STAGES.items():
        x, y = column * STEP_X, row * STEP_Y
        colour = next((c for key, c in COLOURS.items() if key in name), INK)
        box = FancyBboxPatch((x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0.03", lw=1.4)
        box.set(facecolor="white", edgecolor=colour)
        axes.add_patch(box)
        axes.text(x, y, name, ha="center", va="center", color=colour, weight="bold", linespacing=1.1)
        axes.text(x, y - HEIGHT / 2 - 0.1, writes, ha="center", va="top", color=QUIET, size=8.5)
    axes.set(xlim=(-1, 5 * STEP_X + 1), ylim=(-1.9, 1.75))
    axes.axis("off")
    _save(figure, path)


def _arrow(axes: Axes, source: tuple[float, float], target: tuple[float, float]) -> None:
    """Draw an arrow to the next column straight, to a farther one out of the box's top or bottom."""
    end = (target[0] * STEP_X - WIDTH / 2 - 0.06, target[1] * STEP_Y)
    if target[0] - source[0] > 1:
        side = 1 if target[1] > source[1] else -1
        start = (source[0] * STEP_X, source[1] * STEP_Y + side * (HEIGHT / 2 + (0.06 if side > 0 else 0.32)))
        style = f"angle,angleA={90 * side},angleB=0,rad=8"
    else:
        start, style = (source[0] * STEP_X + WIDTH / 2 + 0.06, source[1] * STEP_Y), "arc3"
    options = {"arrowstyle": "-|>", "mutation_scale": 11, "color": QUIET, "lw": 1.1, "connectionstyle": style}
    axes.add_patch(FancyArrowPatch(start, end, **options))


def levels(path: Path) -> None:
    """Draw the packages in rows by level: each imports from the rows below it only."""
    figure, axes = plt.subplots(figsize=(11, 4.6))
    for level, names in enumerate(LEVELS):
        width = min(1.6, 11.6 / len(names) - 0.1)
        for i, name in enumerate(names):
            x = (i - (len(names) - 1) / 2) * (width + 0.1)
            box = FancyBboxPatch((x - width / 2, level - 0.26), width, 0.52, boxstyle="round,pad=0.02", lw=1.1)
            box.set(facecolor="white", edgecolor=COLOURS["audio"])
            axes.add_patch(box)
            axes.text(x, level, name.replace("_", "\n"), ha="center", va="center", color=INK, size=8, linespacing=1.0)
        axes.text(-6.3, level, str(level), ha="center", va="center", color=QUIET)
    axes.set(xlim=(-6.6, 6.1), ylim=(-0.5, len(LEVELS) - 0.5))
    axes.axis("off")
    _save(figure, path)


def result(paper: dict[str, Any], obtained: dict[str, Any], path: Path) -> None:
    """Draw UA of RAVDESS, mean over EmoBox's folds: published frozen encoders, and the obtained rows with intervals.

    Args:
        paper: the file papers/emobox.yaml
        obtained: metrics/paper_tables/emobox.json
        path: of the picture
    """
    published, ours = [], []
    for table in paper["tables"][:2]:
        for row in table["rows"]:
            scores = obtained.get(key_of(table, row, False), {}).get("scores")
            if row["published"]:
                published.append((row["model"], row["published"][0], None, "published"))
            elif scores and row["row"] != "#0":
                apart = " ¹" if table is paper["tables"][1] else ""
                mean, pooled = (scores[f"UA %, {of}"] for of in ("mean of folds", "pooled"))
                ours.append(
                    (row["model"] + apart, 100 * mean[0], [100 * bound for bound in pooled[1:]], "ours" + apart)
                )
    bars = sorted(published, key=lambda bar: bar[1]) + ours
    colours = {"published": QUIET, "ours": COLOURS["audio"], "ours ¹": COLOURS["fused"]}
    figure, axes = plt.subplots(figsize=(7.6, 0.32 * len(bars) + 0.9))
    for position, (_, value, interval, kind) in enumerate(reversed(bars)):
        axes.barh(position, value, color=colours[kind], height=0.66)
        if interval is not None:
            axes.plot(interval, [position, position], color=INK, lw=1.4, solid_capstyle="butt")
        axes.text(max([value, *(interval or [])]) + 0.8, position, f"{value:.1f}", va="center", color=INK, size=9)
    axes.axvline(CHANCE, color=QUIET, ls="--", lw=1)
    axes.text(CHANCE + 0.6, len(bars) - 0.45, "chance", color=QUIET, size=8)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in reversed(bars)], size=9)
    axes.set(
        xlim=(0, 100), ylim=(-0.6, len(bars) - 0.1), xlabel="UA %, RAVDESS, mean over EmoBox's six folds of actors"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.text(
        -0.3, -0.62 / (0.32 * len(bars) + 0.9) - 0.04, NOTE, size=8, color=QUIET, transform=axes.transAxes, va="top"
    )
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    print(f"wrote {path}")


def main(obtained: Path = Path("metrics/paper_tables/emobox.json"), out: Path = HERE) -> None:
    """Draw the pictures anew."""
    with plt.rc_context(STYLE):
        levels(out / "levels.svg")
        pipeline(out / "pipeline.svg")
        result(read_paper(PAPERS / "emobox.yaml"), json.loads(obtained.read_text()), out / "result.svg")


if __name__ == "__main__":
    run(main)
