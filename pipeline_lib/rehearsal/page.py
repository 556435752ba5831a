"""The page of a rehearsal, in Markdown."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pipeline_lib.rehearsal.devices import Device
from pipeline_lib.rehearsal.plan import SPARE_GB, Row
from pipeline_lib.rehearsal.trial import Tried

NONE = "–"
PLAN = (
    *("stage", "parameters", "trained", "GFLOP an audio s, forward", "in training"),
    *("audio hours trained + predicted", "hours", "memory GB", "disk GB", "note"),
)
MEASURED = (
    *("stage", "precision", "batch", "s an audio hour, training", "forward", "share of the rate"),
    *("hours at full size", "planned", "peak GB", "note"),
)
TRIED = ("stage", "seconds", "peak GB", "MB written", "killed after", "same bytes after it", "note")
HOW = """\
How each number was obtained:

- parameters, trained, GFLOP, memory: counted on the recipe's architectures without weights
  (`pipeline_lib/rehearsal/counting.py`), memory with {spare:g} GB spare; measured only where a table above says so.
- hours: GFLOP over the rate of the device, {name}: {float32:.3g} TFLOP/s in float32{bfloat16}
  ({source}), of which a share of {utilisation:g} is assumed to be reached. All epochs; early stopping ends sooner.
- {size}: {hours:g} hours, {turns:,} turns ({from_}); lengths between 2.75 and 11 s, their distribution assumed.
- Rebalancing, fusion and scoring run on the CPU and are not planned; decoding and augmentation are not counted.
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown.

    Args:
        header: titles of the columns
        rows: cells
    """
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def plan_table(rows: Sequence[Row], device: Device) -> str:
    """Return the table of the plan.

    Args:
        rows: stages
        device: that it is for; what does not fit into its memory is marked
    """
    cells = [_plan_cells(row, device) for row in rows]
    hours, disk = (sum(getattr(row, key) or 0.0 for row in rows) for key in ("hours", "disk_gb"))
    cells.append(["all", *[""] * 5, _number(hours), "", _number(disk), ""])
    return table(PLAN, cells)


def _plan_cells(row: Row, device: Device) -> list[str]:
    fits = row.memory_gb is None or row.memory_gb <= device.memory_gb
    notes = [row.note] if fits else [f"does not fit into {device.memory_gb:.0f} GB", row.note]
    return [
        row.stage,
        _count(row.parameters),
        _count(row.trained),
        _number(row.forward_gflop),
        _number(row.training_gflop),
        " + ".join(f"{hours:,.0f}" for hours in row.audio_hours),
        _number(row.hours),
        _number(row.memory_gb),
        _number(row.disk_gb),
        "; ".join(filter(None, notes)),
    ]


def measured_table(rows: Sequence[Row], measured: Sequence[Mapping[str, Any]], device: Device) -> str:
    """Return the table of what was measured, beside the plan.

    Args:
        rows: the plan's
        measured: what each network took, see ``measure.Measured``, or ``why`` it was not measured
        device: at hand
    """
    by_stage = {row.stage: row for row in rows}
    return table(MEASURED, [_measured_cells(by_stage[record["stage"]], record, device) for record in measured])


def _measured_cells(row: Row, record: Mapping[str, Any], device: Device) -> list[str]:
    if "why" in record:
        return [row.stage, record["precision"], *[NONE] * 5, _number(row.hours), NONE, record["why"]]
    training_s, forward_s = record["training_s"], record["forward_s"]
    hours = (training_s or 0.0) * row.audio_hours[0] + forward_s * row.audio_hours[1]
    flop = (row.training_gflop or row.forward_gflop or 0.0) * 1e9
    share = flop / ((training_s or forward_s) * device.rate(half=record["precision"] != "float32"))
    return [
        row.stage,
        record["precision"],
        f"{record['batch']} x {record['seconds']:.2f} s",
        _number(None if training_s is None else 3600 * training_s),
        _number(3600 * forward_s),
        f"{share:.2f}",
        _number(hours),
        _number(row.hours),
        _number(record["peak_gb"]),
        "",
    ]


def tried_line(tried: Tried) -> str:
    """Return what a stage took, in a line for the console."""
    if tried.seconds is None:
        return f"{tried.stage}: {tried.note}"
    kill = ""
    if tried.killed_after_s is not None:
        same = "the same bytes" if tried.same_bytes else "OTHER BYTES"
        kill = f"; killed after {tried.killed_after_s:.1f} s and started again: {same}"
    return f"{tried.stage}: {tried.seconds:.1f} s, {tried.written / 1e6:.3g} MB{kill}"


def _tried_cells(tried: Mapping[str, Any]) -> list[str]:
    killed = tried["killed_after_s"]
    return [
        tried["stage"],
        _number(tried["seconds"]),
        _number(tried["peak_gb"]),
        _number(tried["written"] / 1e6),
        NONE if killed is None else f"{killed:.1f} s",
        {None: NONE, True: "yes", False: "**no**"}[tried["same_bytes"]],
        tried["note"],
    ]


def page(record: Mapping[str, Any], today: date | None = None) -> str:
    """Return the whole page.

    Args:
        record: what ``rehearse`` writes as JSON
        today: date of the page
    """
    device, here, size, options = (record[key] for key in ("device", "here", "size", "options"))
    parts = [f"# Rehearsal: {', '.join(recipe['recipe'] for recipe in record['recipes'])}\n"]
    parts.append(f"{today or date.today()}, `ser rehearse`, planned for {device['name']}, run on {here['name']}.\n")
    for recipe in record["recipes"]:
        rows = [Row(**{**row, "audio_hours": tuple(row["audio_hours"])}) for row in recipe["plan"]]
        parts += [f"## {recipe['recipe']}, {size['name']}\n", plan_table(rows, Device(**device))]
        if "measured" in recipe:
            title = f"Steps with random weights on {here['name']}, one batch of noise again and again:\n"
            parts += [title, measured_table(rows, recipe["measured"], Device(**here))]
        if "stages" in recipe:
            title = f"The stages on {options['utterances']} utterances of noise, {options['steps']} steps a phase:\n"
            parts += [title, table(TRIED, [_tried_cells(tried) for tried in recipe["stages"]])]
    half = device["bfloat16"]
    parts.append(
        HOW.format(
            spare=SPARE_GB,
            name=device["name"],
            float32=device["float32"] / 1e12,
            bfloat16=f", {half / 1e12:.3g} in bfloat16" if half else ", no bfloat16",
            source=device["source"],
            utilisation=options["utilisation"],
            size=size["name"],
            hours=size["hours"],
            turns=size["turns"],
            from_=size["source"],
        )
    )
    return "\n".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
