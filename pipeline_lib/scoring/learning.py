"""Would more recordings help, or cleaner ones? Learning curves of the rebalancing entries, in words."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_lib.errors import InputError

POINTS = ("recordings", "ua")


def read_curves(tables: dict[str, str], folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Return the learning curves that the stage rebalancing measured for the scored systems.

    Args:
        tables: name of a system to its predictions
        folder: metrics/rebalancing

    Returns:
        system to ``recordings`` and ``ua``, lists of one length, and ``sentences``, what the stage concludes from its
        paired deviations; systems without a curve are left out

    Raises:
        InputError: a file is no JSON or its curve lacks a list
    """
    curves = {}
    for name, table in tables.items():
        file = folder / f"{PurePosixPath(table).stem}.json"
        if not table.startswith("data/rebalanced/") or not file.is_file():
            continue
        try:
            curve = json.loads(file.read_text(encoding="utf-8")).get("learning_curve")
        except ValueError:
            raise InputError(f"{file} is no JSON: run dvc repro rebalancing") from None
        if curve is None:
            continue
        lists = [curve.get(key) for key in (*POINTS, "sentences")]
        if not all(isinstance(each, list) and each for each in lists) or len(lists[0]) != len(lists[1]):
            expected = f"lists {[*POINTS]} of one length, and sentences"
            raise InputError(f"{file}: learning_curve holds {sorted(curve)}, expected {expected}")
        curves[name] = curve
    return curves


def sentence(system: str, curve: dict[str, Sequence[Any]]) -> str:
    """Return what a curve tells: its points, and what the stage rebalancing concludes from them.

    Args:
        system: whose curve it is
        curve: see ``read_curves``
    """
    points = zip(*(curve[key] for key in POINTS), strict=True)
    measured = ", ".join(f"{ua:.3f} from {int(size)}" for size, ua in points)
    return f"{system}: UA {measured} training recordings. {'. '.join(curve['sentences'])}."


def section(curves: dict[str, dict[str, Any]], audit: str) -> list[str]:
    """Return the report's lines about more or cleaner recordings, none where nothing is known of either.

    Args:
        curves: by system
        audit: sentence of the label audit, empty for none
    """
    lines = [f"- {sentence(name, curve)}" for name, curve in curves.items()] + ([f"- {audit}"] if audit else [])
    return ["## More recordings, or cleaner labels?", "", *lines, ""] if lines else []
