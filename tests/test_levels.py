"""Imports go only downwards, stages' packages never meet, and heavy libraries stay where they belong."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import names_in, straight

LEVELS = (
    ("labels", "modalities", "metrics", "losses", "batch_losses", "errors", "interrupt", "telemetry", "arithmetic"),
    ("storage", "audio", "classifiers", "command", "environment"),
    ("tables", "params"),
    ("encoders", "networks", "shards", "corpus", "conversion", "demonstration", "rebalancing", "fusion", "scoring"),
    ("transcription", "experts"),
    ("embedding", "finetuning", "reports"),
    ("recipes", "inference", "bundle"),
    ("doctor", "rehearsal", "start", "evaluation", "robustness", "prediction", "stages", "cli"),
)
LEVEL = {"__init__": 0} | {name: level for level, names in enumerate(LEVELS) for name in names}
SEPARATE = {  # packages that meet only through tables
    *("demonstration", "corpus", "transcription", "embedding", "finetuning", "rebalancing", "fusion", "scoring"),
    "conversion",
}
FILES = sorted([*Path("pipeline_lib").rglob("*.py"), *Path("stages").glob("*.py")])
WITH_TORCH = (
    "encoders",
    "networks",
    "batch_losses",
    "losses",
    "experts",
    "embedding",
    "finetuning",
    "demonstration",
    "conversion",
    "doctor",
    "inference",
    "bundle",
    "reports",
    "rehearsal",
)


def package(path: Path) -> str:
    """Return the package, module or stage that a file belongs to."""
    return "stages" if path.parts[0] == "stages" else path.with_suffix("").parts[1]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_downwards(path):
    here = package(path)
    for target in straight(path):
        there = package(target)
        assert LEVEL[there] <= LEVEL[here], f"{path} imports {target}, which stands above it"
        assert there == here or {here, there} - SEPARATE, (
            f"{path} imports {target}, expected to meet it through a table"
        )


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torch_and_nemo_are_imported_only_where_the_design_says(path):
    names = {name.split(".")[0] for name in names_in(ast.parse(path.read_text()))}
    if names & {"torch", "transformers", "peft", "accelerate"}:
        allowed = package(path) in WITH_TORCH or path.name in ("whisper.py", "canary.py", "normalisation.py")
        assert allowed, f"{path} imports torch or transformers"
    if "nemo" in names:
        assert path.name in ("canary.py", "train_canary.py"), f"{path} imports NeMo"


@pytest.mark.parametrize("stage", ["check", "corpus", "rebalancing", "fusion", "scoring", "transcription"])
def test_light_commands_do_not_load_torch_when_they_start(stage):
    source = f"import sys, stages.{stage}; print([m for m in ('torch', 'transformers', 'nemo') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_short_enough_to_read(path):
    assert path.read_text().count("\n") <= 300


@pytest.mark.parametrize("path", sorted(Path("benchmarks").glob("*.py")), ids=str)
def test_what_a_benchmark_imports_of_the_project_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pipeline_lib"):
            module = importlib.import_module(node.module)
            for each in node.names:
                assert hasattr(module, each.name) or importlib.import_module(f"{node.module}.{each.name}")
