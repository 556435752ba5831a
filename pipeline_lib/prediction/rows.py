"""A row of a result: one part of a recording, what the system predicts of it or why it predicts nothing.

``docs/predict.md`` is the specification of the formats.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pipeline_lib.inference.prediction import Failure, Prediction
from pipeline_lib.prediction.inputs import Input
from pipeline_lib.storage import cell_text

Status = Literal["predicted", "no speech", "failed"]
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins one
BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
TEXTS = ("id", "recording", "status", "reason", "label", "transcript", "experts", "notes")
INTEGERS = ("segment", "segments")


@dataclass(frozen=True)
class Row:
    """A part of a recording.

    Attributes:
        id: of the table, else the recording's name
        recording: as it was named
        segment: number of the part, from 1; 0 where there is none
        segments: how many parts the recording has
        start_s: beginning of the part in seconds of the recording, None where it is not known
        end_s: its end
        status: "predicted", "no speech", "failed"
        reason: why nothing is predicted
        label: the most probable one
        posterior: by label, sums to 1
        attributes: by name, on the corpus's scale
        transcript: that was read or recognised
        experts: by entry, see ``Prediction``
        notes: on what the numbers depend on
    """

    id: str
    recording: str
    segment: int = 0
    segments: int = 0
    start_s: float | None = None
    end_s: float | None = None
    status: Status = "failed"
    reason: str | None = None
    label: str | None = None
    posterior: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)
    transcript: str | None = None
    experts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def without_prediction(given: Input, status: Status, reason: str) -> Row:
    """Return the row of a recording of which no part is predicted.

    Args:
        given: the recording
        status: "no speech" or "failed"
        reason: one sentence
    """
    return Row(given.id, given.recording, start_s=given.start, end_s=given.end, status=status, reason=reason)


def of_part(
    given: Input, number: int, n_parts: int, times: tuple[float, float] | None, result: Prediction | Failure
) -> Row:
    """Return the row of a part.

    Args:
        given: the recording
        number: of the part, from 1
        n_parts: how many there are
        times: start and end in seconds, None where the recording was not cut
        result: what the system returned
    """
    start, end = times or (given.start, given.end)
    if isinstance(result, Failure):
        return Row(given.id, given.recording, number, n_parts, start, end, "failed", result.reason)
    if times is None and result.segments:
        start, end = result.segments[0][0], result.segments[-1][1]
    return Row(
        given.id,
        given.recording,
        number,
        n_parts,
        start,
        end,
        "predicted",
        label=result.label,
        posterior=result.posterior,
        attributes=result.attributes,
        transcript=result.transcript,
        experts=result.experts,
        notes=result.notes,
    )


def as_json(row: Row) -> str:
    """Return the row as one JSON object on one line."""
    values = {each.name: getattr(row, each.name) for each in fields(row)} | {"notes": list(row.notes)}
    return encodable(json.dumps(values, ensure_ascii=False, allow_nan=False))


def columns(labels: Sequence[str], attributes: Sequence[str]) -> list[str]:
    """Return the columns of a table of rows.

    Args:
        labels: of the posterior
        attributes: names
    """
    before = ["id", "recording", "segment", "segments", "start_s", "end_s", "status", "reason", "label"]
    shares = [*(f"posterior.{label}" for label in labels), *(f"attribute.{name}" for name in attributes)]
    return [*before, *shares, "transcript", "experts", "notes"]


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row by the columns of a table, those of shares that it lacks left out.

    Args:
        values: the row as its JSON object has it
    """
    shares = {f"posterior.{label}": share for label, share in (values["posterior"] or {}).items()}
    shares |= {f"attribute.{name}": value for name, value in (values["attributes"] or {}).items()}
    experts = json.dumps(values["experts"], ensure_ascii=False) if values["experts"] else None
    single = {name: value for name, value in values.items() if name not in ("posterior", "attributes")}
    return single | shares | {"experts": experts, "notes": " ".join(values["notes"]) or None}


def cell(name: str, value: Any) -> str:
    """Return a value as a cell of CSV: one line, and of text none that a spreadsheet would calculate.

    Args:
        name: of the column
        value: text, number or None
    """
    if value is None:
        return ""
    if name not in TEXTS:
        return repr(value)
    text = BREAKS.sub(" ", cell_text.CONTROL.sub(" ", encodable(str(value))))
    return f"'{text}" if text.startswith(FORMULA) else text


def encodable(text: str) -> str:
    r"""Return the text with ``\udc..`` written out for bytes of file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def line(row: Row) -> str:
    """Return the row as a person reads it in a terminal."""
    name = cell_text.without_controls(encodable(row.recording or row.id))
    times = "" if row.start_s is None or row.end_s is None else f"{row.start_s:8.2f} -{row.end_s:8.2f} s  "
    if row.status != "predicted":
        return f"{name}  {times}{row.status}: {row.reason}"
    shares = " ".join(f"{label} {share:.2f}" for label, share in sorted(row.posterior.items(), key=lambda s: -s[1])[:3])
    values = " ".join(f"{attribute} {value:.2f}" for attribute, value in row.attributes.items())
    return f"{name}  {times}{'  '.join(filter(None, (shares, values)))}"
