"""The stages themselves on a small corpus of noise, with the recipe's architectures and random weights.

Each stage runs as its command does, in a project of its own below ``work/``. One embedding and one expert are then
removed, made again, killed with SIGKILL half-way and made once more: the same bytes are expected.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipeline_lib
from pipeline_lib.errors import InputError
from pipeline_lib.labels import PRIMARY
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.encoder import FUNCTIONALS
from pipeline_lib.params.sections import Params
from pipeline_lib.recipes.compose import fill_slots, write_yaml
from pipeline_lib.rehearsal import corpora, published

ROOT = Path(pipeline_lib.__file__).parents[1]
MACHINE = "finetuning: {save_steps: 1}\n"


@dataclass(frozen=True)
class Tried:
    """What a stage took.

    Attributes:
        stage: its name in dvc.yaml
        seconds: from its start to its end, libraries and random weights included; None where it did not run
        peak_gb: highest memory, None where no model ran
        written: bytes of its outputs
        killed_after_s: when it was killed in the second run; None where it was not
        same_bytes: whether the run after the kill wrote what the uninterrupted one wrote; None where it was not killed
        note: why it did not run
    """

    stage: str
    seconds: float | None = None
    peak_gb: float | None = None
    written: int = 0
    killed_after_s: float | None = None
    same_bytes: bool | None = None
    note: str = ""


def lay_down(project: Path, values: Any, utterances: int, steps: int, mean_s: float) -> Params:
    """Write a project whose params.yaml is the recipe on noise and random weights.

    Args:
        project: folder, which is made
        values: the recipe's parameters, changed in place
        utterances: of the corpus
        steps: of each phase
        mean_s: mean length of an utterance

    Raises:
        InputError: the sizes of a checkpoint are not known
    """
    labels = tuple(values["corpus"]["labels"] or PRIMARY)
    values["demonstration"] = {}
    values["corpus"] |= {
        **{"reader": "table", "root": str(project / "corpus"), "name": "rehearsal", "notice": "noise"},
        **{"merge": None, "labels": None, "attribute_scale": None},
    }
    values["corpus"]["split"]["method"] = "folds" if values["corpus"]["split"]["method"] == "folds" else "official"
    values["corpus"]["dev_bal"]["per_class"] = 1
    scored = "folds" if values["corpus"]["split"]["method"] == "folds" else "test"  # the noise has no test2
    values["scoring"] |= {"splits": [scored], "plotted_split": scored}
    values["transcription"]["engine"] = "reference"
    for entry in values["embedding"].values():
        _without_weights(entry, project)
    for expert in values["finetuning"].values():
        for branch in expert.get("branches", {"": expert}).values():
            _without_weights(branch, project)
        for phase in expert["phases"].values():
            phase["epochs"] = 1
        expert["max_steps"], expert["early_stopping"]["every"] = steps, 1
        if "augmentation" in expert:
            expert["augmentation"]["noise"] |= {"probability": 0.0, "root": None}
            expert["augmentation"]["reverberation"] |= {"root": None, "rooms": 20}
    path = project / "params.yaml"
    project.mkdir(parents=True, exist_ok=True)
    path.write_text(write_yaml(values), encoding="utf-8")
    fill_slots(values, read_all(read_params(path), path))
    path.write_text(write_yaml(values), encoding="utf-8")
    (project / "machine.yaml").write_text(MACHINE, encoding="utf-8")
    corpora.write(project / "corpus", utterances, labels, mean_s)
    return read_all(read_params(path), path)


def _without_weights(part: Any, project: Path) -> None:
    """Give an entry or a branch a checkpoint without weights."""
    if part["encoder"] is None or part["encoder"]["checkpoint"] in FUNCTIONALS:
        return
    name = part["encoder"]["checkpoint"]
    folder = project / "checkpoints" / name.replace("/", "_")
    if not folder.exists():
        published.lay_down(name, folder)
    part["encoder"] |= {"checkpoint": str(folder), "revision": None, "pretrained": False}


def stages_of(params: Params) -> dict[str, list[Path]]:
    """Return the stages up to the experts, in order, and what each writes."""
    result = {
        "corpus": [Path(f"data/{name}.parquet") for name in ("manifest", "quarantine", "leaks")],
        "transcription": [Path("data/transcripts.parquet")],
    }
    result |= {f"embedding@{name}": [Path(f"data/embeddings/{name}")] for name in params.embedding}
    made = ("models/{}", "data/predictions/{}.parquet", "data/predictions_alone/{}", "data/predictions_folds/{}")
    result |= {f"finetuning@{name}": [Path(path.format(name)) for path in made] for name in params.finetuning}
    by_expert = [name for name, entry in params.embedding.items() if entry.expert is not None]
    for name in by_expert:  # it reads a trained expert
        result[f"embedding@{name}"] = result.pop(f"embedding@{name}")
    return result


def run(project: Path, params: Params, budget_s: float) -> Iterator[Tried]:
    """Run the stages one after the other, and yield what each took.

    Args:
        project: see ``lay_down``
        params: of the project
        budget_s: seconds in all; a stage that would begin later does not run, and a kill only takes place where twice
            its stage's time is left

    Raises:
        InputError: a stage failed, with the end of its output
    """
    if not (ROOT / "stages").is_dir():
        raise InputError(f"there is no stages/ in {ROOT}: run ser rehearse in a clone, or with --plan")
    begun, killed = time.monotonic(), set()
    for stage, outs in stages_of(params).items():
        left = budget_s - (time.monotonic() - begun)
        if left <= 0:
            yield Tried(stage, note=f"not run: the {budget_s:g} s of --seconds were over")
            continue
        seconds, peak = _run(project, stage)
        expected, after, same = digests(project, outs), None, None
        section = stage.partition("@")[0]
        left = budget_s - (time.monotonic() - begun)
        if section in ("embedding", "finetuning") and section not in killed and left > 2 * seconds:
            killed.add(section)
            after, same = seconds / 2, _killed(project, stage, outs, seconds / 2) == expected
        yield Tried(stage, seconds, peak, sum(size for size, _ in expected.values()), after, same)


def digests(project: Path, outs: list[Path]) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file of a stage's outputs.

    Args:
        project: their folder
        outs: files and folders, below it
    """
    paths = [project / out for out in outs]
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {
        file.relative_to(project).as_posix(): (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in files
        if file.is_file()
    }


def _killed(project: Path, stage: str, outs: list[Path], after_s: float) -> dict[str, tuple[int, str]]:
    """Remove a stage's outputs, kill it while it makes them again, start it once more and return their digests."""
    for out in [*outs, Path("work")]:
        shutil.rmtree(project / out, ignore_errors=True)
        (project / out).unlink(missing_ok=True)
    first = _start(project, stage)
    time.sleep(after_s)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    _run(project, stage)
    return digests(project, outs)


def _start(project: Path, stage: str) -> "subprocess.Popen[bytes]":
    module, _, name = stage.partition("@")
    line = [sys.executable, "-m", "pipeline_lib.rehearsal.watched", "record.json", module]
    with (project / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [*line, *([name] if name else [])],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def _run(project: Path, stage: str) -> tuple[float, float | None]:
    """Run a stage to its end; return seconds and highest memory."""
    record = project / "record.json"
    record.unlink(missing_ok=True)
    begun = time.monotonic()
    child = _start(project, stage)
    try:
        status = child.wait()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        raise
    if status:
        output = (project / "output.txt").read_text(encoding="utf-8", errors="replace")
        raise InputError(f"{stage} ended with {status} in {project}: {output[-800:]}")
    peak = json.loads(record.read_bytes())["peak_gb"] if record.is_file() else None
    return time.monotonic() - begun, peak
