"""Would more recordings help, or cleaner ones? Learning curves of the rebalancing entries, in words."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline_lib.errors import InputError

CURVE = ("recordings", "macro_f1", "ua", "ua_deviation")


def read_curves(tables: dict[str, str], folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return the learning curves that the stage rebalancing measured for the scored systems.

    Args:
        tables: name of a system to its predictions
        folder: metrics/rebalancing

    Returns:
        system to ``recordings``, ``macro_f1``, ``ua`` and ``ua_deviation``, lists of one length, 2 or more; systems
        without a curve are left out

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
        lengths = {len(curve[key]) if isinstance(curve.get(key), list) else -1 for key in CURVE}
        if len(lengths) != 1 or lengths == {-1}:
            raise InputError(f"{file}: learning_curve holds {sorted(curve)}, expected lists of one length, {[*CURVE]}")
        if lengths != {1} and lengths != {0}:
            curves[name] = curve
    return curves


def sentence(system: str, curve: dict[str, Sequence[float]]) -> str:
    """Return what a curve tells: its points, and whether its last step is larger than its deviation.

    Args:
        system: whose curve it is
        curve: see ``read_curves``
    """
    n, ua, deviation = (curve[key] for key in ("recordings", "ua", "ua_deviation"))
    points = ", ".join(f"{score:.3f} from {int(size)}" for size, score in zip(n, ua, strict=True))
    gain, noise = ua[-1] - ua[-2], max(deviation[-1], deviation[-2])
    step = f"the last step, {n[-1] / n[-2]:.2g} times the recordings, changed UA by {gain:+.3f}"
    if gain > noise:
        verdict = f"more than its deviation of {noise:.3f}: more recordings would help"
    else:
        verdict = (
            f"no more than its deviation of {noise:.3f}: more recordings of this kind would help little; cleaner labels"
            " or other features may"
        )
    return f"{system}: UA {points} recordings; {step}, {verdict}."


def section(curves: dict[str, dict[str, Any]], audit: str) -> list[str]:
    """Return the report's lines about more or cleaner recordings, none where nothing is known of either.

    Args:
        curves: by system
        audit: sentence of the label audit, empty for none
    """
    lines = [f"- {sentence(name, curve)}" for name, curve in curves.items()] + ([f"- {audit}"] if audit else [])
    return ["## More recordings, or cleaner labels?", "", *lines, ""] if lines else []
