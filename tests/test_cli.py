"""The command ``ser``: starts without heavy libraries, names its commands, fails in one sentence."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.command import EXTRAS
from tests.imports import names_in

COMMANDS = {
    "apply",
    "start",
    "bundle",
    "evaluate",
    "rehearse",
    "robustness",
    "predict",
    "pull",
    "push",
    "check",
    "show",
    "doctor",
    "table",
    "submission",
    "checksums",
    "alignment",
    "schema",
}
COMMANDS |= {f"convert {name}" for name in ("hub", "onnx", "sonar", "vggish")} | {
    f"plot {name}" for name in ("layer-weights", "offline", "projection")
}


def ser(*words: str, cwd: Path = Path()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipeline_lib.cli", *words], cwd=cwd, capture_output=True, text=True)


def test_starting_imports_nothing_that_is_heavy():
    source = "import sys, pipeline_lib.cli; print({'torch', 'numpy', 'pandas', 'pydantic', 'ruamel'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command):
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0 and "Usage:" in shown.output


def test_these_are_all_commands():
    import typer

    group = typer.main.get_command(app)
    names = set()
    for name, command in group.commands.items():
        names |= {f"{name} {inner}" for inner in command.commands} if hasattr(command, "commands") else {name}
    assert names == COMMANDS


def test_every_input_error_is_one_sentence(tmp_path):
    done = ser("check", cwd=Path())
    assert (done.returncode, done.stdout, done.stderr) == (0, "params.yaml can be run\n", "")
    done = CliRunner().invoke(app, ["check", "--params", str(tmp_path / "none.yaml")])
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path}/none.yaml does not exist; commands are run from the project's root\n"


def test_the_schema_is_written_where_asked(tmp_path):
    assert CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "s.json")]).exit_code == 0
    assert (tmp_path / "s.json").read_bytes() == Path("pipeline_lib/params/params.schema.json").read_bytes()


def test_each_package_of_an_extra_is_known_with_its_extra():
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    extra_of = {
        re.match(r"[\w-]+", line)[0].replace("_", "-").lower(): extra
        for extra in ("pipeline", "asr", "qlora", "cluster", "egemaps", "predict", "onnx")
        for line in extras[extra]
    }
    distributions = packages_distributions()
    imported = {
        name.partition(".")[0]
        for path in Path("pipeline_lib").rglob("*.py")
        for name in names_in(ast.parse(path.read_text()))
    }
    needed = {
        name: extra_of[distribution.replace("_", "-").lower()]
        for name in imported
        for distribution in distributions.get(name, [])
        if distribution.replace("_", "-").lower() in extra_of
    }
    assert {"dvc", "nemo", "matplotlib", "ray"} <= set(needed)
    assert {name: EXTRAS.get(name) for name in needed} == needed
