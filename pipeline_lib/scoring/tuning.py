"""Keys that let something be tuned on a test split: every report names them."""

from collections.abc import Iterator, Mapping
from typing import Any

KEY = "allow_test_tuning"


def cautions_of_tuning(params: Mapping[str, Any]) -> list[str]:
    """Return a warning of each ``allow_test_tuning`` that is true.

    Args:
        params: params.yaml as read
    """
    return [
        f"{where}.{KEY} is true, and {where}.{key} is {value!r}: where that holds test utterances, a score on"
        " the split is of what was tuned on it and no test score"
        for where, key, value in _allowing(params)
    ]


def _allowing(params: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the dotted name of each settings that allow it, their key of the split and its value."""
    fusion = params.get("fusion") or {}
    if fusion.get(KEY) is True:
        yield "fusion", "tuning", fusion.get("tuning", "dev_bal")
    comparison = (params.get("scoring") or {}).get("comparison") or {}
    if comparison.get(KEY) is True:
        yield "scoring.comparison", "chosen_on", comparison.get("chosen_on", "dev_filt")
    for name, entry in (params.get("rebalancing") or {}).items():
        heat = entry.get("temperature") or {}
        if heat.get(KEY) is True and entry.get("calibration") == "temperature":
            yield f"rebalancing.{name}.temperature", "on", heat.get("on", "dev")
