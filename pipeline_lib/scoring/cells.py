"""A score in a table or sentence: with its interval, or the dash in place of one, and with what labels are absent."""

from collections.abc import Mapping
from typing import Any

from pipeline_lib.metrics.jackknife import LEAST_SPEAKERS
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.tallies import PRESENT

NONE = "[—]"
METHODS = {"jackknife_t": "jackknife-t", "percentile": "percentile bootstrap"}


def brackets(intervals: Mapping[str, Any]) -> str:
    """Return the sentence on what the brackets of a page are.

    Args:
        intervals: ``method``, ``confidence`` and ``samples``, as in the parameters
    """
    settings = IntervalSettings.model_validate(dict(intervals))
    how = METHODS[settings.method]
    if settings.method == "percentile":
        how += f", {settings.samples} resamples"
    return (
        f"Brackets are {settings.confidence:.0%} intervals over speakers ({how}); — stands where fewer than"
        f" {LEAST_SPEAKERS} speakers are known."
    )


def number(values: Mapping[str, Any], key: str, form: str) -> str:
    """Return a score with its interval; where the split lacks labels, also over those that it has.

    Args:
        values: scores of one system, with ``<key>_lo`` and ``<key>_hi`` where there is an interval, ``<key>_present``
            and ``labels_present`` (how many of how many) where labels are absent
        key: of the score
        form: format specification
    """
    text = f"{values[key]:{form}} {_interval(values, key, form)}"
    if key + PRESENT not in values:
        return text
    has, of = values["labels_present"]
    over = key + PRESENT
    return f"{text} ({has} of {of} labels occur; over these {values[over]:{form}} {_interval(values, over, form)})"


def _interval(values: Mapping[str, Any], key: str, form: str) -> str:
    if f"{key}_lo" not in values:
        return NONE
    return f"[{values[f'{key}_lo']:{form}}, {values[f'{key}_hi']:{form}}]"
