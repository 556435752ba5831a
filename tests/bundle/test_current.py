"""Stages whose outputs, inputs or parameters differ from dvc.lock are refused by name; checksums are DVC's."""

import pytest
from ruamel.yaml import YAML

from pipeline_lib.bundle.current import refuse_stale
from pipeline_lib.errors import InputError

# what DVC 3.67 wrote into a dvc.lock for these contents
FOLDER_TEXT, FOLDER_MD5 = "no folds: the expert is trained on the split train\n", "bd22295a3da1188e889aa0e3d1343e7a.dir"
FILE_TEXT, FILE_MD5 = "params.yaml can be run\n", "1c48872f8f77677e1727fea0e835459b"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data/folds").mkdir(parents=True)
    (tmp_path / "data/folds/none.txt").write_text(FOLDER_TEXT)
    (tmp_path / "data/check.txt").write_text(FILE_TEXT)
    (tmp_path / ".dvcignore").write_text("__pycache__\n*.tmp\n")
    YAML().dump({"fusion": {"method": "vote"}, "finetuning": {"a": {"seed": 1}}}, tmp_path / "params.yaml")
    stage = {
        "cmd": "x",
        "deps": [{"path": "data/check.txt", "md5": FILE_MD5}, {"path": "far", "md5": "0" * 32}],
        "params": {"params.yaml": {"fusion": {"method": "vote"}, "finetuning.a": {"seed": 1}}},
        "outs": [{"path": "data/folds", "md5": FOLDER_MD5}],
    }
    YAML().dump({"schema": "2.0", "stages": {"fusion": stage}}, tmp_path / "dvc.lock")
    return tmp_path


def test_a_project_that_is_as_its_lock_says_is_taken(project):
    (project / "data/folds/__pycache__").mkdir()
    (project / "data/folds/__pycache__/x.pyc").write_bytes(b"")
    (project / "data/folds/half.tmp").write_bytes(b"")
    refuse_stale(project, ["fusion"], ["far"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: (p / "data/check.txt").write_text("no\n"), "data/check.txt, which it read, was changed since"),
        (lambda p: (p / "data/folds/more.txt").write_text(""), "data/folds, which it wrote, was changed since"),
        (lambda p: (p / "data/check.txt").unlink(), "data/check.txt, which it read, is missing"),
        (
            lambda p: (p / "params.yaml").write_text("fusion: {method: vote}\nfinetuning: {a: {seed: 2}}\n"),
            "finetuning.a of params.yaml was changed since it ran",
        ),
    ],
)
def test_a_stale_stage_is_named_with_what_differs(project, change, message):
    change(project)
    with pytest.raises(InputError, match=f"^stage fusion is stale: {message}; run dvc repro$"):
        refuse_stale(project, ["fusion"], ["far"])


def test_a_stage_that_has_not_run_and_a_folder_without_lock_are_refused(project):
    with pytest.raises(InputError, match=r"^stage corpus has not run \(dvc.lock does not have it\)"):
        refuse_stale(project, ["corpus"])
    with pytest.raises(InputError, match="which it read, is missing"):
        refuse_stale(project, ["fusion"])
    (project / "dvc.lock").unlink()
    with pytest.raises(InputError, match=r"has no dvc\.lock"):
        refuse_stale(project, ["fusion"])
