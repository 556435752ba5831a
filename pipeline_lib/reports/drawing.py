"""Style of the figures: text, colours and marks, and reproducible bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline_lib.storage import atomic

# distinct for colour-blind readers, Okabe and Ito 2008; marks distinguish labels of one colour
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
DOTS_PER_INCH = 150


def style(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and mark of each name, in order."""
    return {name: (COLOURS[i % 8], MARKS[(i + i // 8) % 8]) for i, name in enumerate(names)}


def begin(width: float, height: float, notice: str) -> Figure:
    """Return an empty figure with the corpus's notice at its foot.

    Args:
        width: in inches
        height: in inches
        notice: a sentence, empty for none
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    if notice:
        figure.supxlabel(notice, fontsize=7, color="#555555", wrap=True)
    return figure


def write(path: Path, figure: Figure) -> None:
    """Write the figure as PNG; the same figure gives the same bytes on one machine.

    Args:
        path: the file
        figure: the drawing
    """
    file = io.BytesIO()
    with matplotlib.rc_context({"savefig.dpi": DOTS_PER_INCH}):
        figure.savefig(file, format="png", metadata={"Software": None})
    atomic.write_file(path, file.getvalue())
