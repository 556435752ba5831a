"""The pipeline at its smallest in a folder of its own, stage by stage in forked children: seconds in place of minutes.

Code and shipped checkpoints are linked, params.yaml is the default recipe with small sizes; a stage runs as its command
does, with the imports made once, in the parent.
"""

import os
import runpy
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from pipeline_lib.params.check import read_all
from pipeline_lib.recipes.compose import fill_slots
from tests.faults import forked

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
SMALL = {
    "demonstration.english.train": 48,
    "demonstration.english.dev": 32,
    "demonstration.english.test": 32,
    "corpus.dev_bal.per_class": 2,
    "transcription.shard_size": 32,
    "embedding.audio.shard_size": 32,
    "embedding.text.shard_size": 32,
    "finetuning.audio.phases.main.epochs": 2,
    "finetuning.audio.early_stopping.every": 2,
    "finetuning.text.phases.main.epochs": 2,
    "fusion.method": "interpolation",
    "rebalancing.audio.method": "none",
    "scoring.intervals.samples": 100,
    "scoring.comparison.permutations": 100,
}


@dataclass(frozen=True)
class Stage:
    """A stage: its command's module and argument, and what it writes."""

    name: str
    outs: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """Return module and arguments."""
        module, _, key = self.name.partition("@")
        return (f"stages.{module}", *([key] if key else []))


def rebalancing(entry: str) -> Stage:
    """Return the stage of an entry of rebalancing."""
    written = (
        f"data/rebalanced/{entry}.parquet",
        f"data/rebalanced_folds/{entry}",
        f"models/rebalancing/{entry}",
    )
    curve = (
        f"metrics/rebalancing/{entry}.json",
        f"metrics/plots/layers/{entry}.csv",
        f"metrics/plots/learning/{entry}.csv",
    )
    return Stage(f"rebalancing@{entry}", written + curve)


STAGES = (
    Stage("check", ("data/check.txt",)),
    Stage("demonstration@english", ("data/demonstration/english",)),
    Stage("corpus", (*(f"data/{name}.parquet" for name in ("manifest", "quarantine", "leaks")), "metrics/corpus.json")),
    Stage("transcription", ("data/transcripts.parquet", "metrics/transcription.json")),
    Stage("embedding@audio", ("data/embeddings/audio",)),
    Stage("embedding@text", ("data/embeddings/text",)),
    Stage(
        "finetuning@audio",
        (
            "models/audio",
            "data/predictions/audio.parquet",
            "data/predictions_alone/audio",
            "data/predictions_folds/audio",
            "metrics/plots/training",
        ),
    ),
    Stage(
        "finetuning@text",
        (
            "models/text",
            "data/predictions/text.parquet",
            "data/predictions_alone/text",
            "data/predictions_folds/text",
            "metrics/plots/training",
        ),
    ),
    rebalancing("audio"),
    rebalancing("text"),
    rebalancing("audio_layers"),
    rebalancing("text_layers"),
    Stage("fusion", ("data/fused.parquet", "data/fused_crossfitted.parquet", "models/fusion")),
    Stage(
        "scoring",
        (
            *(f"metrics/{name}" for name in ("scores.json", "details.json", "audit.csv", "audit.html", "report.md")),
            *("metrics/plots/confusion", "metrics/plots/systems.csv"),
        ),
    ),
)
OF_FOLDS = tuple(stage for stage in STAGES if stage.name.split("@")[0] in ("finetuning", "rebalancing", "fusion"))
LIGHT = STAGES[:3]  # without torch: for a fast cut


def lay_out(folder: Path, *, folded: bool = False) -> None:
    """Link the code, write params.yaml, with folds or without."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pipeline_lib", "stages"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "models").mkdir()
    (folder / "models/demo").symlink_to(ROOT / "models/demo")
    write_params(folder / "params.yaml", folded=folded)
    (folder / "machine.yaml").write_text("finetuning: {save_steps: 2}\n")


def write_params(path: Path, *, folded: bool = False) -> None:
    """Write the default recipe with small sizes; with folds what is trained is trained twice."""
    yaml = YAML()
    params = yaml.load(ROOT / "pipeline_lib/recipes/default.yaml")
    for dotted, value in SMALL.items():
        *parts, last = dotted.split(".")
        inner = params
        for part in parts:
            inner = inner[part]
        assert last in inner, dotted
        inner[last] = value
    if folded:
        _fold(params)
    yaml.dump(params, path)


def _fold(params: dict) -> None:
    """Deal the corpus into two folds, and let every entry and the fusion fit one model a fold."""
    split = params["corpus"]["split"]
    split["method"], split["folds"]["k"] = "folds", 2
    for section in ("finetuning", "rebalancing"):
        for entry in params[section].values():
            entry["folds"] = True
    params["fusion"]["folds"] = True
    params["scoring"] |= {"splits": ["folds"], "plotted_split": "folds"}
    params["scoring"]["comparison"]["chosen_on"] = "folds"
    fill_slots(params, read_all(params))


def prepare() -> None:
    """Import what stages import late, so that children need not."""
    import pipeline_lib.finetuning.finetune  # noqa: F401
    import pipeline_lib.transcription.canary  # noqa: F401
    from pipeline_lib.demonstration import generate  # noqa: F401
    from pipeline_lib.embedding import embed  # noqa: F401


def command(folder: Path, stage: Stage) -> Callable[[], None]:
    """Return what runs the stage's command in the folder."""

    def work() -> None:
        os.setsid()
        os.chdir(folder)
        module, *arguments = stage.command
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__")

    return work


def run(folder: Path, stage: Stage, said: Path | None = None) -> int | None:
    """Run the stage; return its exit status."""
    return forked.run(command(folder, stage), LIMIT_S, None if said is None else str(said))


def written(folder: Path, stage: Stage) -> dict[str, bytes]:
    """Return the bytes of what the stage writes; training curves of the stage's own entry only."""
    found = {}
    key = stage.name.partition("@")[2]
    for out in stage.outs:
        place = folder / out
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            mine = out != "metrics/plots/training" or key in path.relative_to(place).as_posix()
            if path.is_file() and mine:
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def strays(folder: Path) -> list[str]:
    """Return what is left of half-written files and unfinished work, logs and locks aside."""
    odd = ("shard_", "checkpoint_", ".checkpoint_", "best_", ".best_")
    return sorted(
        str(path.relative_to(folder))
        for place in ("data", "metrics", "models", "work")
        for path in (folder / place).rglob("*")
        if not path.is_symlink() and (path.name.startswith(odd) or path.name.endswith((".tmp", ".old")))
    )


def outlived(folder: Path, within_s: float = 5.0) -> list[str]:
    """Return the command lines of processes that still work in the folder after that time."""
    end = time.monotonic() + within_s
    while found := [each.info for each in psutil.process_iter(["cwd", "cmdline"]) if _inside(each.info, folder)]:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return [" ".join(each["cmdline"] or [])[:120] for each in found]


def _inside(process: dict, folder: Path) -> bool:
    return process["cwd"] is not None and Path(process["cwd"]).is_relative_to(folder.resolve())


@dataclass
class Whole:
    """An uninterrupted run: its folder, and of each stage its time and what it wrote."""

    folder: Path
    seconds: dict[str, float]
    expected: dict[str, dict[str, bytes]]


def whole(folder: Path, stages: Sequence[Stage] = STAGES, *, folded: bool = False) -> Whole:
    """Run these stages, the first ones or all, once without harm, with folds or without."""
    if {*stages} - {*LIGHT}:
        prepare()
    lay_out(folder, folded=folded)
    result = Whole(folder, {}, {})
    for stage in stages:
        began = time.monotonic()
        status = run(folder, stage, folder / "said.txt")
        assert status == 0, f"{stage.name}: {(folder / 'said.txt').read_text()[-2000:]}"
        result.seconds[stage.name] = time.monotonic() - began
        result.expected[stage.name] = written(folder, stage)
        assert result.expected[stage.name], f"{stage.name} wrote nothing of {stage.outs}"
    (folder / "said.txt").unlink()
    return result


def before(made: Whole, stage: Stage, folder: Path) -> None:
    """Lay down a copy of what there is when the stage begins for the first time."""
    later = STAGES[STAGES.index(stage) :]
    gone = {str(made.folder / out) for each in later for out in each.outs if out != "metrics/plots/training"}

    def ignore(place: str, names: list[str]) -> list[str]:
        return [name for name in names if str(Path(place) / name) in gone or name == "work"]

    shutil.copytree(made.folder, folder, symlinks=True, ignore=ignore, dirs_exist_ok=True)
