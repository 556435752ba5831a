"""DVC's files and a merge's leftovers in a repository, one fault at a time, and their fixes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline_lib.doctor import repository
from tests.doctor.results import by_check


def test_an_orderly_repository_has_nothing_to_fix(place):
    found = list(repository.repository(place))
    assert {each.state for each in found} == {"ok"} and not any(each.fix for each in found)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": {}}'])
def test_an_empty_or_damaged_rwlock_is_a_problem_and_removed(place, content):
    path = place / ".dvc" / "tmp" / "rwlock"
    path.write_text(content)
    finding = by_check(repository.repository(place))["DVC's rwlock"]
    assert finding.state == "problem" and "blocks every dvc repro" in finding.message
    assert finding.fix() == f"removed {path}" and not path.exists()


def test_dvc_itself_is_blocked_by_an_empty_rwlock_and_runs_after_the_fix(tmp_path):
    dvc = [str(Path(sys.executable).with_name("dvc"))]
    quiet = {"cwd": tmp_path, "capture_output": True, "env": {**os.environ, "DVC_NO_ANALYTICS": "1"}}
    subprocess.run([*dvc, "init", "--no-scm", "-q"], check=True, **quiet)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: touch out\n    outs: [out]\n")
    (tmp_path / ".dvc" / "tmp").mkdir(exist_ok=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").touch()
    assert subprocess.run([*dvc, "repro", "-q"], check=False, **quiet).returncode != 0
    by_check(repository.repository(tmp_path))["DVC's rwlock"].fix()
    subprocess.run([*dvc, "repro", "-q"], check=True, **quiet)


@pytest.mark.parametrize(
    "end",
    [pytest.param("", marks=pytest.mark.acceptance), "  b:", pytest.param("path: b", marks=pytest.mark.acceptance)],
)
def test_a_lock_file_cut_by_a_kill_is_put_aside_and_no_stage_runs_again(tmp_path, end):
    dvc = [str(Path(sys.executable).with_name("dvc"))]
    quiet = {"cwd": tmp_path, "capture_output": True, "env": {**os.environ, "DVC_NO_ANALYTICS": "1"}, "check": True}
    subprocess.run([*dvc, "init", "--no-scm", "-q"], **quiet)
    lines = [f"  {name}:\n    cmd: echo ran >> log && echo {name} > {name}\n    outs: [{name}]\n" for name in "ab"]
    (tmp_path / "dvc.yaml").write_text("stages:\n" + "".join(f"{line}    deps: [source]\n" for line in lines))
    (tmp_path / "source").touch()
    subprocess.run([*dvc, "repro", "-q"], **quiet)
    path = tmp_path / "dvc.lock"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(end.encode()) + len(end.removesuffix(" b"))])
    finding = by_check(repository.repository(tmp_path))["dvc.lock"]
    assert finding.state == "problem" and finding.message.startswith("cannot be read")
    assert finding.fix() == f"moved {path} to dvc.lock.damaged"
    subprocess.run([*dvc, "repro", "-q"], **quiet)
    assert path.read_bytes() == whole
    assert (tmp_path / "log").read_text() == "ran\nran\n"


def test_the_rwlock_of_a_dvc_at_work_is_left_alone(place):
    (place / ".dvc" / "tmp" / "rwlock").write_text("")
    program = place / "dvc"
    program.write_text("import time; time.sleep(60)\n")
    dvc = subprocess.Popen([sys.executable, str(program), "repro"], cwd=place)
    try:
        while len(psutil.Process(dvc.pid).cmdline()) < 3:
            time.sleep(0.01)
        finding = by_check(repository.repository(place))["DVC's rwlock"]
        assert finding.state == "warning" and finding.fix is None and str(dvc.pid) in finding.remedy
        assert repository._removed(place, place / ".dvc" / "tmp" / "rwlock").endswith("dvc runs now")
    finally:
        dvc.kill()
        dvc.wait()
    assert (place / ".dvc" / "tmp" / "rwlock").exists()


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock"])
def test_marks_of_a_merge_and_broken_yaml_are_problems(place, name):
    (place / name).write_text("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n")
    finding = by_check(repository.repository(place))[name]
    assert finding.state == "problem" and "marks of a merge" in finding.message
    (place / name).write_text("a: [1\n")
    assert by_check(repository.repository(place))[name].message.startswith("cannot be read")
    (place / name).write_text("")
    assert "is empty" in by_check(repository.repository(place))[name].message
