"""What is installed: locked by hash, wheels alone, each extra with a lower bound; and none of it reports its use."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipeline_lib.errors import InputError
from pipeline_lib.params.check import check
from pipeline_lib.telemetry import OFF

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
ITSELF = PROJECT["name"]
LOCKS = {name: Path("requirements", f"{name}.txt") for name in ("build", "base", "asr")}
BUILT_HERE = {"antlr4-python3-runtime"}  # docs/installation.md has the reason
OPTIONS = {"--only-binary :all:", *(f"--no-binary {name}" for name in BUILT_HERE)}
PACKAGE = re.compile(r"([a-z0-9][a-z0-9.-]*)==([A-Za-z0-9.!+]+)((?: --hash=sha256:[0-9a-f]{64})+)")


def locked(name: str) -> dict[str, str]:
    """Return the versions of a lock by package; every line is an option, a comment, or a version with its hashes."""
    versions = {}
    for line in LOCKS[name].read_text().replace(" \\\n   ", "").splitlines():
        if line in OPTIONS or line.startswith("# "):
            continue
        match = PACKAGE.fullmatch(line)
        assert match, f"{LOCKS[name]}: {line}"
        versions[match[1]] = match[2]
    return versions


def pins() -> dict[str, str]:
    lines = Path("constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def needed(extra: str | None) -> list[Requirement]:
    """Return the requirements of an extra, None for the core, those of this project's other extras in their place."""
    lines = PROJECT["dependencies"] if extra is None else EXTRAS[extra]
    requirements = [Requirement(line) for line in lines]
    nested = [name for each in requirements if each.name == ITSELF for name in sorted(each.extras)]
    own = [each for each in requirements if each.name != ITSELF]
    return own + [requirement for name in nested for requirement in needed(name)]


def test_every_pin_but_torch_is_locked_once_in_its_version():
    files = [locked(name) for name in LOCKS]
    together = {name: version for file in files for name, version in file.items()}
    assert sum(map(len, files)) == len(together)
    assert together | {"torch": pins()["torch"]} == pins()


def test_wheels_alone_are_installed_but_for_the_named_ones():
    text = {name: path.read_text() for name, path in LOCKS.items()}
    assert all(lines.splitlines()[1] == "--only-binary :all:" for lines in text.values())
    named = re.findall(r"^# (\S+) is built here: \S.+\n--no-binary (\S+)$", text["base"], re.MULTILINE)
    assert {name for pair in named for name in pair} == BUILT_HERE and "--no-binary" not in text["asr"] + text["build"]
    assert set(locked("build")) == {"setuptools"}


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_each_requirement_has_bounds_and_is_locked_within_them(extra):
    for requirement in needed(extra):
        operators = {bound.operator for bound in requirement.specifier}
        assert operators >= {">=", "<"}, f"{extra}: {requirement}"
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), f"{extra}: {requirement}"


def test_nemo_and_what_reports_for_it_stay_out_of_an_install_without_it():
    base, asr = locked("base"), locked("asr")
    brought = {"nemo-toolkit", "wandb", "nv-one-logger-core", "opentelemetry-sdk", "lightning"}
    assert brought <= set(asr) and not brought & set(base)
    names = {
        canonicalize_name(each.name)
        for extra in (None, *EXTRAS)
        if extra not in ("asr", "dev")
        for each in needed(extra)
    }
    assert names <= {*base, "torch", *locked("build")}


REPORTERS = """
import json, logging, os, sys
{first}
import dvc.analytics, iterative_telemetry, huggingface_hub.constants
from opentelemetry.sdk.trace import TracerProvider
from ray._common.usage import usage_lib
import wandb
wandb_settings = wandb.Settings()
wandb_settings.update_from_env_vars(os.environ)
print(json.dumps({{
    "dvc": dvc.analytics.is_enabled(),
    "iterative": iterative_telemetry.IterativeTelemetryLogger("a", "1", enabled=lambda: True).is_enabled(),
    "hub": not huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY,
    "opentelemetry": not TracerProvider()._disabled,
    "ray": usage_lib.usage_stats_enabled(),
    "wandb": wandb_settings.mode != "disabled",
    "wandb errors": wandb.env.error_reporting_enabled(),
}}))
"""


def reports(first: str, tmp_path: Path) -> dict[str, bool]:
    """Return which libraries would report, by their own account, in a process that begins with a line."""
    environment = {name: value for name, value in os.environ.items() if name not in OFF}
    source = REPORTERS.format(first=f"sys.path.insert(0, {str(Path.cwd())!r}); {first}")
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_library_reports_from_a_stage(tmp_path):
    enabled = reports("import stages", tmp_path)
    assert enabled == dict.fromkeys(enabled, False)


@pytest.mark.acceptance
def test_the_libraries_would_report_if_they_were_let(tmp_path):
    enabled = reports("", tmp_path)
    assert enabled == dict.fromkeys(enabled, True)


@pytest.mark.parametrize("module", ["stages", "pipeline_lib.cli"])
def test_commands_set_every_variable_whatever_it_was(module):
    source = f"import json, os, {module}; print(json.dumps(dict(os.environ)))"
    environment = os.environ | dict.fromkeys(OFF, "on")
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert OFF.items() <= json.loads(done.stdout).items()


@pytest.mark.acceptance
def test_one_logger_of_nemo_is_off_and_exports_nowhere(tmp_path):
    pytest.importorskip("nemo")
    source = (
        "import stages, nemo.lightning.callback_group\n"
        "from nv_one_logger.training_telemetry.api.training_telemetry_provider import TrainingTelemetryProvider as P\n"
        "print('enabled', P.instance().config.enable_for_current_rank)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in (*OFF, "RANK")}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "enabled False"


@pytest.fixture(scope="module")
def pip(tmp_path_factory):
    """Return pip's command in an environment of its own, of a release that resolves without fetching whole wheels."""
    root = tmp_path_factory.mktemp("resolution")
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    command = [root / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    newer = [*command, "install", "--quiet", "--retries", "1", "--timeout", "10", "--upgrade", "pip>=25"]
    if subprocess.run(newer, capture_output=True).returncode:
        pytest.skip("no package index can be reached: the extras are not resolved")
    return command


@pytest.mark.acceptance
@pytest.mark.parametrize("extra", [name for name in EXTRAS if name != "dev"])  # all of them: the locks' own test
def test_each_extra_is_resolved_to_the_pins(extra, pip, tmp_path):
    report = tmp_path / "report.json"
    command = [
        *pip,
        "install",
        "--dry-run",
        "--quiet",
        "--ignore-installed",
        "--report",
        report,
        "-c",
        "constraints.txt",
    ]
    done = subprocess.run([*command, f".[{extra}]"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    chosen = {
        canonicalize_name(each["metadata"]["name"]): each["metadata"]["version"]
        for each in json.loads(report.read_text())["install"]
    }
    assert {canonicalize_name(each.name) for each in [*needed(None), *needed(extra)]} <= set(chosen)
    of_torch = {name for name in chosen if name.startswith(("nvidia-", "cuda-toolkit", "triton"))} - set(pins())
    versions = {name: version.partition("+")[0] for name, version in chosen.items() if name not in {*of_torch, ITSELF}}
    assert versions.items() <= pins().items()


@pytest.mark.acceptance
def test_the_locks_are_those_that_are_written_anew(pip):
    before = {name: path.read_text() for name, path in LOCKS.items()}
    try:
        subprocess.run([sys.executable, "requirements/lock.py"], check=True, capture_output=True)
        assert {name: path.read_text() for name, path in LOCKS.items()} == before
    finally:
        for name, path in LOCKS.items():
            path.write_text(before[name])


@pytest.mark.skipif(find_spec("nemo") is None, reason="NeMo is not installed")
def test_nemo_is_imported_by_canary_alone():
    source = "import sys, stages.transcription; print({'nemo', 'omegaconf', 'lightning'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_canary_without_nemo_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr("pipeline_lib.params.inputs.find_spec", lambda name: None if name == "nemo" else True)
    with pytest.raises(InputError) as refused:
        check()
    assert str(refused.value) == (
        "params.yaml: transcription.engine is 'canary', which needs NeMo, and nemo_toolkit is not installed: pip"
        " install 'speech-emotion-pipeline[asr]' (in a checkout: make install), or set the engine to 'whisper', or to"
        " 'reference' where the corpus has its own transcripts"
    )
