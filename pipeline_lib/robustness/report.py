"""metrics/robustness.{md,json} and figures/robustness.png: score and word errors by condition and level."""

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.robustness.levels import CLEAN, Level
from pipeline_lib.robustness.plan import Plan
from pipeline_lib.robustness.results import Result
from pipeline_lib.robustness.score import METRICS, system_scores, word_error_scores
from pipeline_lib.scoring.cells import brackets, number
from pipeline_lib.scoring.splits import cautions, name_on, names_of
from pipeline_lib.scoring.systems import System, align
from pipeline_lib.storage import atomic
from pipeline_lib.tables import predictions

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")  # of a processor, that change kernels


def write(plan: Plan, finished: Mapping[Level, Result], out: Path) -> None:
    """Score every level and write page, numbers and figure.

    Args:
        plan: the run
        finished: result of each of its levels
        out: folder of robustness.md, robustness.json and figures/
    """
    from pipeline_lib.robustness.figure import draw  # loads matplotlib

    record = scored(plan, finished)
    atomic.write_file(out / "robustness.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    text = page(record)
    atomic.write_file(out / "robustness.md", text)
    draw(out / "figures" / "robustness.png", record)
    print(text, end="")


def scored(plan: Plan, finished: Mapping[Level, Result]) -> dict[str, Any]:
    """Return all numbers of the report.

    Args:
        plan: the run
        finished: result of each of its levels
    """
    corpus, options = plan.manifest, plan.params.scoring.intervals
    systems = {level: _aligned(plan, result) for level, result in finished.items()}
    clean = systems[CLEAN]
    here = names_of(corpus, np.ones(len(corpus), dtype=bool))
    rows = []
    for level, result in finished.items():
        of_level = {
            name_on(system, here): system_scores(corpus, system, clean[name], options)
            for name, system in systems[level].items()
            if name in clean
        }
        row = {"condition": level.condition, "level": level.value, "words": level.words, "copies": result.copies}
        row |= {"losses": result.losses, "quieter": result.quieter, "seconds": result.seconds, "systems": of_level}
        row["wer"] = word_error_scores(corpus, result.texts, finished[CLEAN].texts, options)
        rows.append(row)
    notes = [f"{name} is left out: without fitting it equals another row" for name in plan.tables if name not in clean]
    same = [name for name in clean if len(systems) > 1 and all(_same(of[name], clean[name]) for of in systems.values())]
    return {
        "corpus": corpus.corpus,
        "notice": corpus.notice,
        "split": plan.split,
        "utterances": len(corpus),
        "speakers": int(corpus.frame["speaker"].nunique()),
        "seed": plan.seed,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "intervals": options.model_dump(),
        "notes": [
            *plan.notes,
            *notes,
            *(f"{name} predicts the same at every level: it reads no audio" for name in same),
        ],
        "warnings": cautions(corpus, plan.split, options),
        "stored": _beside_stored(plan, clean),
        "levels": rows,
    }


def page(record: Mapping[str, Any]) -> str:
    """Return the report as a Markdown page.

    Args:
        record: see ``scored``
    """
    lines = [f"# Robustness on {record['corpus']}, {record['split']}", ""]
    lines += [f"> **{record['notice']}**", ""] if record["notice"] else []
    lines += [f"> Warning: {warning}  " for warning in record["warnings"]] + ([""] if record["warnings"] else [])
    what = (
        f"{record['utterances']} recordings of {record['speakers']} speakers, seed {record['seed']}; {record['date']}"
    )
    paired = "Those of a difference to clean are of the same speakers for both."
    lines += [f"{what}, {record['processor']}. {brackets(record['intervals'])} {paired}", ""]
    lines += [f"- {note}" for note in record["notes"]]
    for name, values in record["stored"].items():
        same = f"{values['same_label']} of {values['n']} utterances have the same label"
        most = f"posteriors differ by at most {values['largest_difference']:.1e}"
        lines.append(f"- {name}, clean copies beside the project's own table: {same}, {most}")
    lines += [""] if record["notes"] or record["stored"] else []
    for name in dict.fromkeys(name for row in record["levels"] for name in row["systems"]):
        rows = [(row, row["systems"].get(name, {})) for row in record["levels"]]
        lines += [f"## {name}", "", *_table(rows, METRICS)]
    rows = [(row, row["wer"]) for row in record["levels"]]
    lines += ["## Recordings and transcripts", "", *_table(rows, {"wer": "WER"}, recordings=True)]
    return "\n".join(lines).rstrip() + "\n"


def processor() -> str:
    """Return the processor's name with those of its ``FLAGS`` that it has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    values = dict(line.partition(":")[::2] for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, value in values.items()}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    has = [flag for flag in FLAGS if flag in flags]
    name = fields.get("model name") or platform.machine()
    return f"{name} ({' '.join(has)})" if has else name


def _aligned(plan: Plan, result: Result) -> dict[str, System]:
    paths = plan.tables
    return {name: align(name, paths[name], table, plan.manifest) for name, table in result.tables.items()}


def _same(one: System, other: System) -> bool:
    """Return whether two levels have the same predictions where both have any."""
    for first, second in ((one.posterior, other.posterior), (one.attributes, other.attributes)):
        if first is not None and second is not None:
            both = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
            if not np.array_equal(first[both], second[both]):
                return False
    return True


def _beside_stored(plan: Plan, clean: Mapping[str, System]) -> dict[str, dict[str, float]]:
    """Return by system how clean copies are predicted beside the recordings themselves, of systems with categories."""
    beside = {}
    for name, system in clean.items():
        stored = align(name, plan.tables[name], predictions.read(plan.tables[name]), plan.manifest).posterior
        if stored is None or system.posterior is None:
            continue
        both = np.isfinite(stored).all(axis=1) & np.isfinite(system.posterior).all(axis=1)
        if both.any():
            one, other = stored[both], system.posterior[both]
            same = int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
            beside[name] = {
                "n": int(both.sum()),
                "same_label": same,
                "largest_difference": float(abs(one - other).max()),
            }
    return beside


def _table(rows: Sequence[tuple[Any, Any]], metrics: Mapping[str, str], *, recordings: bool = False) -> list[str]:
    """Return a Markdown table, a row a level, of the metrics that some level has, or also of its recordings."""
    present = [metric for metric in metrics if any(metric in values for _, values in rows)]
    counts = [count for count in ("n", "n_attributes") if any(count in values for _, values in rows)]
    head = ["condition", "level", *(("copies", "left out", "made quieter", "seconds") if recordings else ()), *counts]
    head += [part for metric in present for part in (metrics[metric], "less clean")]
    lines = [_row(head), _row(["---"] * len(head))]
    for row, values in rows:
        cells = [row["condition"], row["words"]]
        if recordings:
            left_out = ", ".join(f"{n} {reason}" for reason, n in row["losses"].items()) or "0"
            cells += [str(row["copies"]), left_out, str(row["quieter"]), f"{row['seconds']:.0f}"]
        cells += [str(values.get(count, "")) for count in counts]
        for metric in present:
            clean = row["condition"] == CLEAN.condition
            cells += [_number(values, metric, ".3f"), "" if clean else _number(values, f"{metric}_less_clean", "+.3f")]
        lines.append(_row(cells))
    return [*lines, ""]


def _number(values: Mapping[str, float], key: str, form: str) -> str:
    return number(values, key, form) if key in values else ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
