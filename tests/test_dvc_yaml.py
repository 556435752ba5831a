"""dvc.yaml names exactly the code that each stage imports: no more reruns than needed, no fewer."""

from pathlib import Path

import pytest
import yaml

from tests.imports import imported_files

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
NOT_RESULTS = {
    Path("pipeline_lib/__init__.py"),
    Path("pipeline_lib/command.py"),
    Path("pipeline_lib/environment.py"),
    Path("pipeline_lib/errors.py"),
    Path("pipeline_lib/interrupt.py"),
    Path("pipeline_lib/params/executor.py"),
    Path("pipeline_lib/params/machine.py"),
    Path("pipeline_lib/params/mistakes.py"),
    Path("pipeline_lib/telemetry.py"),
    Path("pipeline_lib/params/named_splits.py"),
    Path("pipeline_lib/tables/named_splits.py"),
    Path("pipeline_lib/arithmetic.py"),
    Path("stages/__init__.py"),
    Path("pipeline_lib/shards/local.py"),
    Path("pipeline_lib/shards/ray_actors.py"),
    Path("pipeline_lib/shards/slurm.py"),
    Path("pipeline_lib/storage/atomic.py"),
}  # how a command reports, refuses, shares out its work and puts a file in place, not what it writes


def body(name: str) -> dict:
    """Return a stage's own part, looking through ``foreach``."""
    return STAGES[name].get("do", STAGES[name])


def data_of(module: Path) -> list[Path]:
    """Return the files beside a module that it names."""
    beside = [each for each in module.parent.iterdir() if each.suffix in (".json", ".yaml")]
    return [each for each in beside if f'"{each.name}"' in module.read_text()]


@pytest.mark.parametrize("name", STAGES)
def test_deps_cover_imports(name):
    deps = [Path(each) for each in body(name)["deps"] if each.startswith("pipeline_lib")]
    needed = imported_files(Path(f"stages/{name}.py")) - NOT_RESULTS
    needed |= {data for f in needed for data in data_of(f)}
    missing = sorted(str(f) for f in needed if not any(f == d or d in f.parents for d in deps))
    idle = sorted(str(d) for d in deps if not any(f == d or d in f.parents for f in needed))
    assert not missing, f"add to deps of {name} in dvc.yaml: {missing}"
    assert not idle, f"{name} does not import: {idle}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_the_script_of_its_name_and_depends_on_it(name):
    each = " ${key}" if "foreach" in STAGES[name] else ""
    assert body(name)["cmd"] == f"python -m stages.{name}{each}"
    assert f"stages/{name}.py" in body(name)["deps"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_says_what_it_does_and_never_persists_outputs(name):
    assert body(name)["desc"].endswith(".")
    assert "persist" not in str(body(name).get("outs"))


def test_a_folder_that_only_experts_fill_is_there_without_experts_too():
    """DVC refuses a dependency that does not exist, and a recipe may train no expert (``finetuning: {}``)."""
    outs = [each for each in body("finetuning")["outs"] if isinstance(each, str)]
    filled = {str(Path(each).parent) for each in outs}
    read = {each for name in STAGES for each in body(name)["deps"]} & filled
    assert read >= {"data/predictions", "data/predictions_alone"}
    kept = Path("data/.gitignore").read_text().splitlines()
    for folder in sorted(read):
        assert (Path(folder) / ".gitignore").read_text() == "*\n!/.gitignore\n"
        assert f"!/{Path(folder).name}/" in kept
