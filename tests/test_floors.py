"""Imports go only downwards, rooms never meet, and heavy libraries stay where they belong."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import names_in, straight

ROOMS = (
    *("demonstration", "corpus", "transcription", "embedding", "finetuning", "rebalancing", "fusion", "scoring"),
    *("conversion", "figures"),
)
GROUND = (
    "__init__",
    "errors",
    "command",
    "interrupt",
    "settings",
    "labels",
    "containers",
    "audio",
    "sealed",
    "whole",
    "metrics",
    "environment",
    "batch_losses",
    "words",
    "losses",
    "networks",
    "classifiers",
)
SHARED = ("tables", "segments", "encoders", "expert_network", "experts", "shards")
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    **dict.fromkeys(SHARED, 1),
    **dict.fromkeys(ROOMS, 2),
    "recipes": 3,
    "doctor": 3,
    "diagnosis": 3,
    "stages": 3,
}
FILES = sorted([*Path("pipeline_lib").rglob("*.py"), *Path("stages").glob("*.py")])
WITH_TORCH = (
    "encoders",
    "networks",
    "batch_losses",
    "losses",
    "expert_network",
    "experts",
    "embedding",
    "finetuning",
    "demonstration",
    "conversion",
    "doctor",
    "diagnosis",
)


def place(path: Path) -> str:
    """Return the room, module or stage that a file belongs to."""
    return "stages" if path.parts[0] == "stages" else path.with_suffix("").parts[1]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_only_downwards(path):
    here = place(path)
    for target in straight(path):
        there = place(target)
        assert FLOORS[there] <= FLOORS[here], f"{path} imports {target}, which stands above it"
        assert there == here or {here, there} - set(ROOMS), f"{path} imports {target}: a room imports another room"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_torch_and_nemo_are_imported_only_where_the_design_says(path):
    names = {name.split(".")[0] for name in names_in(ast.parse(path.read_text()))}
    if names & {"torch", "transformers", "peft", "accelerate"}:
        allowed = place(path) in WITH_TORCH or path.name in ("whisper.py", "canary.py")
        assert allowed, f"{path} imports torch or transformers"
    if "nemo" in names:
        assert path.name in ("canary.py", "train_canary.py"), f"{path} imports NeMo"


@pytest.mark.parametrize("stage", ["check", "corpus", "probing", "rebalancing", "fusion", "scoring", "transcription"])
def test_light_commands_do_not_load_torch_when_they_start(stage):
    source = f"import sys, stages.{stage}; print([m for m in ('torch', 'transformers', 'nemo') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert loaded == "[]\n"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_short_enough_to_read(path):
    assert path.read_text().count("\n") <= 330


@pytest.mark.parametrize("path", sorted(Path("benchmarks").glob("*.py")), ids=str)
def test_what_a_benchmark_imports_of_the_project_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("pipeline_lib"):
            module = importlib.import_module(node.module)
            for each in node.names:
                assert hasattr(module, each.name) or importlib.import_module(f"{node.module}.{each.name}")
