"""The real pipeline in a temporary clone, on a small demonstration corpus: what a user types, with real DVC.

The clone runs once, for all tests here. Which stages a key reruns is read from DVC's own status and graph, without
running them; tests/test_rerun_matrix.py lets DVC run them (`make acceptance`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import networkx
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline_lib.params.sections import ORDER
from tests.reruns import MATRIX, set_param

SMALL = {
    "demonstration.english.train": 96,
    "demonstration.english.dev": 64,
    "demonstration.english.test": 64,
    "corpus.dev_bal.per_class": 4,
    "finetuning.audio.phases.main.epochs": 1,
    "finetuning.audio.early_stopping.every": 1,
    "finetuning.text.phases.main.epochs": 1,
    "finetuning.text.early_stopping.every": 1,
    "scoring.intervals.samples": 100,
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory, project_root):
    """Return a clone of the working tree with small sizes, run once from scratch."""
    root = tmp_path_factory.mktemp("clone")
    listed = git(project_root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        source = project_root / name
        if source.is_file():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    yaml = YAML()
    params = yaml.load(project_root / "pipeline_lib/recipes/default.yaml")
    for dotted, value in SMALL.items():
        *path, last = dotted.split(".")
        inner = params
        for part in path:
            inner = inner[part]
        assert last in inner, dotted
        inner[last] = value
    yaml.dump(params, root / "params.yaml")
    git(root, "init", "-q")
    commit(root, "clone")
    done = dvc(root, "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout


def dvc(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    beside = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": beside + os.pathsep + os.environ["PATH"], "DVC_NO_ANALYTICS": "1"}
    git(root, "config", "user.name", "t")
    git(root, "config", "user.email", "t@t")
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment, timeout=900)


def ran(output: str) -> list[str]:
    """Return the stages that DVC ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage ")]


def scores(root: Path) -> dict:
    return json.loads((root / "metrics/details.json").read_text())


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", message)


def out_of_date(root: Path) -> set[str]:
    """Return the stages that ``dvc repro`` would run if every one that runs wrote other bytes, but for ``check``.

    A stage runs where DVC sees a change in what it depends on, and so does everything below it in the graph. The output
    of ``check`` is one constant, so nothing runs on its account.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with Repo(str(root)) as repo:
            changed = set(repo.status()) - {"check"}
            graph = networkx.reverse_view(repo.index.graph)
            stages = [stage for stage in graph if stage.addressing in changed]
            below = {each for stage in stages for each in networkx.descendants(graph, stage)}
            return changed | {stage.addressing for stage in below}


def test_every_table_is_there_and_every_score_is_labelled_as_demonstration(clone):
    assert "demonstration" in scores(clone)["notice"]
    assert "demonstration" in (clone / "metrics/report.md").read_text()
    assert {"audio", "text", "fused"} <= set(scores(clone)["test"])


def test_a_second_repro_runs_nothing(clone):
    assert out_of_date(clone) == set()
    assert ran(dvc(clone, "repro").stdout) == []


@pytest.mark.parametrize("key", MATRIX)
def test_one_key_reruns_exactly_what_lies_downstream(clone, key):
    value, downstream = MATRIX[key]
    before = (clone / "params.yaml").read_bytes()
    try:
        set_param(clone, key, value)
        assert out_of_date(clone) == downstream
    finally:
        (clone / "params.yaml").write_bytes(before)


def test_the_matrix_has_a_key_of_every_section():
    assert {key.split(".")[0] for key in MATRIX} == set(ORDER)


def test_another_fusion_method_reruns_fusion_and_scoring_only_and_metrics_and_plots_show_the_difference(clone):
    commit(clone, "run")
    done = dvc(clone, "exp", "run", "-S", "fusion.method=logreg")
    assert done.returncode == 0, done.stderr[-3000:]
    assert ran(done.stdout) == ["check", "fusion", "scoring"]
    assert "logreg" in (clone / "params.yaml").read_text()
    assert "fused.f1" in dvc(clone, "metrics", "diff", "--all").stdout
    shown = dvc(clone, "plots", "diff", "HEAD")
    assert shown.returncode == 0, shown.stderr
    assert (clone / "dvc_plots/index.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("fusion.method=logreq", "fusion.method is 'logreq', expected", marks=pytest.mark.acceptance),
        pytest.param("+fusion.methods=logreg", "fusion.methods is not a parameter", marks=pytest.mark.acceptance),
        pytest.param("fusion.experts=[audio,txt]", "fusion.experts names 'txt'", marks=pytest.mark.acceptance),
        pytest.param("corpus.root=nowhere", "nowhere", marks=pytest.mark.acceptance),
        ("finetuning.audio.encoder.checkpoint=models/demo/w2v", "models/demo/w2v"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(clone, change, message):
    before = (clone / "params.yaml").read_bytes()
    try:
        done = dvc(clone, "exp", "run", "-S", change)
        assert done.returncode != 0
        assert message in done.stdout + done.stderr
        assert set(ran(done.stdout)) <= {"check"}
    finally:
        (clone / "params.yaml").write_bytes(before)
