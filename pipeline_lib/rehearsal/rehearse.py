"""A rehearsal of recipes: the plan, measured steps, the stages with a kill, and the page of all of it."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.recipes import small as stand_ins
from pipeline_lib.recipes.compose import compose, read_yaml, write_yaml
from pipeline_lib.rehearsal import page, trial
from pipeline_lib.rehearsal.corpora import Size
from pipeline_lib.rehearsal.devices import Device, device_of
from pipeline_lib.rehearsal.plan import Plan, Row
from pipeline_lib.storage import atomic

LEAST_BATCH = 2  # batch norm takes no statistics of one utterance
WORK = Path("work/rehearsal")


@dataclass(frozen=True)
class Options:
    """What is rehearsed.

    Attributes:
        size: of the corpus that is planned for
        device: name of the planned device; None for the one at hand
        utilisation: share of the device's rate that the plan assumes
        small: on the checkpoints that ship
        plan_only: nothing is run
        seconds: budget of a recipe's run
        utterances: of the corpus that the stages run on
        steps: of each phase
    """

    size: Size
    device: str | None = None
    utilisation: float = 0.35
    small: bool = False
    plan_only: bool = False
    seconds: float = 600.0
    utterances: int = 64
    steps: int = 3


def rehearse(recipes: Sequence[str], options: Options, out: Path) -> None:
    """Plan and run recipes, and write ``<out>.md`` and ``<out>.json``.

    Args:
        recipes: names, or paths of a params.yaml
        options: what is rehearsed
        out: path of both files without their endings

    Raises:
        InputError: there is no such recipe or device, or a stage failed
    """
    planned = device_of(options.device)
    here = planned if options.device is None or options.plan_only else device_of(None)
    results = []
    for name in recipes:
        with tempfile.TemporaryDirectory() as folder:
            params = _read(_values(name, small=options.small), Path(folder) / "params.yaml")
            rows = list(Plan(params, options.size, planned, options.utilisation).rows())
            result: dict[str, Any] = {"recipe": name, "plan": [asdict(row) for row in rows]}
            print(page.plan_table(rows, planned), flush=True)
            if not options.plan_only:
                measured = list(_measured(Path(folder) / "params.yaml", params, rows, here, options))
                result["measured"] = measured
                print(page.measured_table(rows, measured, here), flush=True)
        if not options.plan_only:
            result["stages"] = [asdict(tried) for tried in _tried(name, options)]
        results.append(result)
    record: dict[str, Any] = {
        "size": asdict(options.size),
        "device": asdict(planned),
        "here": asdict(here),
        "recipes": results,
    }
    record["options"] = {**asdict(options), "size": options.size.name}
    atomic.write_file(out.with_suffix(".json"), json.dumps(record, indent=2) + "\n")
    atomic.write_file(out.with_suffix(".md"), page.page(record))
    print(f"{out.with_suffix('.md')} and {out.with_suffix('.json')} written")


def _values(name: str, *, small: bool) -> Any:
    values = read_yaml(Path(name)) if name.endswith((".yaml", ".yml")) else compose(name)
    if small:
        stand_ins.shrink(values)
    return values


def _read(values: Any, path: Path) -> Params:
    path.write_text(write_yaml(values), encoding="utf-8")
    return read_all(read_params(path), path)


def _measured(
    path: Path, params: Params, rows: Sequence[Row], here: Device, options: Options
) -> Iterator[dict[str, Any]]:
    """Yield what each planned network took, or why it was not measured."""
    timed = [row for row in rows if row.hours and row.parameters and row.stage != "transcription"]
    for row in timed:
        section, name = row.stage.split(".")
        expert = params.finetuning[name] if section == "finetuning" else None
        precisions = ["auto", "float32"] if expert is not None and here.bfloat16 else ["auto"]
        share_s = options.seconds / 2 / len(timed) / len(precisions)
        for precision in precisions:
            label = {"stage": row.stage, "precision": precision}
            seconds, largest = _batch(expert, options.size.mean_s)
            gflop = (row.training_gflop or 0.0) + (row.forward_gflop or 0.0)
            rate = here.rate(half=precision == "auto") * options.utilisation
            each_s = 2 * gflop * 1e9 * seconds / rate  # of an utterance, warmed up and timed
            batch = min(largest, int(share_s / each_s))
            if (row.weights_gb or 0.0) > here.memory_gb:
                why = f"the weights take {row.weights_gb:.1f} GB, {here.memory_gb:.1f} GB are there"
                yield label | {"why": f"not measured: {why}"}
            elif batch < min(largest, LEAST_BATCH):
                why = f"about {each_s * LEAST_BATCH:.0f} s, its part of --seconds is {share_s:.0f} s"
                yield label | {"why": f"not measured: {why}"}
            else:
                yield label | _measure(path, row.stage, [seconds, batch, share_s / 4, precision])


def _batch(expert: FinetuningSettings | None, whole_s: float) -> tuple[float, int]:
    """Return the seconds of an utterance and the utterances of a batch, of an expert's first phase or an embedding."""
    if expert is None:
        return whole_s, 16
    phase = next(iter(expert.phases.values()))
    return whole_s if phase.chunk_s is None else sum(phase.chunk_s) / 2, phase.batch_size


def _measure(path: Path, stage: str, options: Sequence[Any]) -> dict[str, Any]:
    """Return what a stage's network took in a process of its own, whose memory is its own."""
    line = [sys.executable, "-m", "pipeline_lib.rehearsal.measure", str(path), stage, *map(str, options)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"why": f"not measured: ended with {done.returncode}: {last[:200]}"}
    return json.loads(done.stdout.splitlines()[-1])


def _tried(name: str, options: Options) -> Iterator[trial.Tried]:
    """Run the recipe's stages in a project below ``work/``, which is removed when all have run."""
    project = (WORK / Path(name).stem).resolve()
    shutil.rmtree(project, ignore_errors=True)
    values = _values(name, small=options.small)
    params = trial.lay_down(project, values, options.utterances, options.steps, options.size.mean_s)
    for tried in trial.run(project, params, options.seconds / 2):
        print(page.tried_line(tried), flush=True)
        yield tried
    shutil.rmtree(project)
