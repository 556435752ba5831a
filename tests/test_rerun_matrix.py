"""Changing one key reruns exactly the stages that lie downstream of it: real DVC, the real dvc.yaml, quick stand-ins.

The stand-ins write digests of what each stage declares (deps and params), so DVC's cascade is the real one and takes
seconds; tests/test_pipeline.py runs the real commands once and reads DVC's status and graph.
"""

import shutil
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.reruns import AFTER_TEXT, EVERYTHING_AFTER_CORPUS, MATRIX, set_param

pytestmark = pytest.mark.acceptance

STAND_IN = """
import hashlib, sys
from pathlib import Path
import yaml

def digest(path):
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return "".join(hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.name != ".gitignore")

def dig(values, dotted):
    for part in dotted.split("."):
        values = values[part]
    return values

def names(outs):
    return [next(iter(out)) if isinstance(out, dict) else out for out in outs]

def load(name):
    return yaml.load(Path(name).read_text(), yaml.CSafeLoader)

params, stage = load("params.yaml"), load("dvc.yaml")["stages"][sys.argv[1]]
key = sys.argv[2] if len(sys.argv) > 2 else ""
item = params[sys.argv[1]][key] if key else {}
def fill(text):
    text = text.replace("${key}", key).replace("${corpus.root}", str(params["corpus"]["root"]))
    for role, path in item.get("reads", {}).items():
        text = text.replace("${item.reads." + role + "}", path)
    text = text.replace("${transcription.reads.checkpoint}", params["transcription"]["reads"]["checkpoint"])
    return text
body = stage.get("do", stage)
seen = "constant" if sys.argv[1] == "check" else "".join(
    [digest(Path(fill(d))) for d in body["deps"]] + [repr(dig(params, fill(p))) for p in body["params"]])
for out in names([*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]):
    path = Path(fill(out))
    if path.suffix == "":
        path.mkdir(parents=True, exist_ok=True)
        path = path / "content"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(hashlib.sha256((sys.argv[1] + key + out + seen).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory, project_root):
    """Return a DVC repository with the project's dvc.yaml and params.yaml, run once with stand-ins."""
    root = tmp_path_factory.mktemp("matrix")
    for name in ("pipeline_lib", "stages", "corpora", "models/demo"):
        shutil.copytree(project_root / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (project_root / "dvc.yaml").read_text().replace("python -m stages.", f"{sys.executable} stand_in.py ")
    (root / "dvc.yaml").write_text(text)
    shutil.copy(project_root / "pipeline_lib/recipes/default.yaml", root / "params.yaml")
    (root / "stand_in.py").write_text(STAND_IN)
    Repo.init(str(root), no_scm=True)
    assert len(reproduce(root)) == len(EVERYTHING_AFTER_CORPUS) + 2
    return root


def reproduce(root: Path) -> set[str]:
    """Run ``dvc repro`` and return the names of the stages that ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with Repo(str(root)) as repo:
            return {stage.addressing for stage in repo.reproduce()}


def test_a_second_run_runs_nothing(clone):
    assert reproduce(clone) == set()


@pytest.mark.parametrize("key", MATRIX)
def test_one_key_reruns_exactly_what_lies_downstream(clone, key):
    value, downstream = MATRIX[key]
    set_param(clone, key, value)  # and left so: the next test changes another key
    assert reproduce(clone) - {"check"} == downstream


def test_a_new_checkpoint_under_the_same_name_reruns_what_reads_it(clone):
    config = clone / "models/demo/llama/config.json"
    config.write_text(config.read_text() + "\n")
    assert reproduce(clone) == AFTER_TEXT


def test_a_change_in_a_file_of_code_reruns_its_stages_only(clone):
    file = clone / "pipeline_lib/fusion/fuse.py"
    file.write_text(file.read_text() + "# a comment\n")
    assert reproduce(clone) == {"fusion", "scoring"}
