"""Times of a table's segments: seconds, or durations as pandas, audformat and others write them."""

import math
import re
from decimal import Decimal

from pipeline_lib.errors import InputError
from pipeline_lib.storage import cell_text

NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,12})?"
SECONDS = re.compile(r"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,2})?")
WITH_UNIT = re.compile(rf"({NUMBER})\s*(s|sec|ms)")
CLOCK = re.compile(r"(?:([0-9]{1,3}) days? )?([0-9]{1,2}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,12})?)")
ISO = re.compile(rf"P(?:([0-9]{{1,3}})D)?T(?:([0-9]{{1,2}})H)?(?:([0-9]{{1,4}})M)?(?:({NUMBER})S)?")
DAYS = re.compile(r"([0-9]{1,3}) days?")
MILLI = Decimal("0.001")


def segment(where: str, names: tuple[str, str], begin: str, end: str) -> tuple[float, float]:
    """Return begin and end of a segment, in seconds; NaN for the recording's own beginning and end.

    Args:
        where: file and line, for messages
        names: names of the two columns; the second may be ``duration``
        begin: cell of the first
        end: cell of the second

    Raises:
        InputError: no time, one below 0, or an end that is not behind the beginning
    """
    first, last = _seconds(where, names[0], begin), _seconds(where, names[1], end)
    if first is not None and first < 0:
        raise InputError(f"{where}: {names[0]} is {begin}, expected seconds from the recording's beginning, at least 0")
    if names[1] == "duration" and last is not None:
        if last <= 0:
            raise InputError(f"{where}: duration is {end}, expected more than 0 s, or nothing for the recording's end")
        last += first or 0
    if last is not None and last <= (first or 0):
        raise InputError(
            f"{where}: {names[1]} {end} is not behind {names[0]} {begin or 0}, expected seconds from the recording's"
            " beginning, or nothing for its end"
        )
    if not first and last is None:
        return math.nan, math.nan
    return float(first or 0), math.nan if last is None else float(last)


def suffix(begin_s: float, end_s: float) -> str:
    """Return a segment's part of an identifier, ``_1500-2750`` in milliseconds; "" for a whole recording.

    Times differ from a microsecond on, less than a sample.

    Args:
        begin_s: seconds, NaN for a whole recording
        end_s: seconds, NaN for the recording's end
    """
    if math.isnan(begin_s):
        return ""
    return f"_{_milliseconds(begin_s)}-{'end' if math.isnan(end_s) else _milliseconds(end_s)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")


def _seconds(where: str, name: str, text: str) -> Decimal | None:
    if cell_text.is_missing(text):
        return None
    if SECONDS.fullmatch(text):
        return Decimal(text)
    if match := WITH_UNIT.fullmatch(text):
        return Decimal(match[1]) * (MILLI if match[2] == "ms" else 1)
    if match := DAYS.fullmatch(text):
        return Decimal(match[1]) * 86_400
    match = CLOCK.fullmatch(text) or (ISO.fullmatch(text) if text != "PT" else None)
    if match and any(match.groups()):
        days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups())
        return 86_400 * days + 3_600 * hours + 60 * minutes + seconds
    comma = "; with a point, not a comma" if "," in text else ""
    raise InputError(
        f"{where}: {name} is {text[:80]!r}, expected seconds (1.5) or a duration (0 days 00:00:01.5){comma}"
    )
