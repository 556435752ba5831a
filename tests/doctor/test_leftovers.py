"""Unfinished work, temporary files and processes that a killed run leaves, and their removal."""

import fcntl
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline_lib.doctor import leftovers, processes
from pipeline_lib.doctor.examine import diagnose
from pipeline_lib.doctor.result import Result
from pipeline_lib.params.base import read_params
from pipeline_lib.shards import store
from pipeline_lib.shards.packs import packs_in
from tests.doctor.results import by_check, started


def holding(folder: Path, name: str = "shard_00000.parquet") -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(bytes(1_000))
    return folder


def locked(place: Path, stage: str, section: str) -> dict:
    """Make dvc.lock record the stage with the present parameters."""
    params = read_params(place / "params.yaml")
    value = params
    for part in section.split("."):
        value = value[part]
    lock = {"schema": "2.0", "stages": {stage: {"cmd": "x", "params": {"params.yaml": {section: value}}}}}
    (place / "dvc.lock").write_text(json.dumps(lock))
    return params


def test_work_that_no_parameter_leads_to_is_listed_and_removed(place):
    old = holding(place / "work" / "finetuning" / "gone" / "aaaa")
    now = holding(place / "work" / "finetuning" / "audio" / "bbbb", "checkpoint_00000001")
    logs = holding(place / "work" / "finetuning" / "audio" / "cccc", "logs")
    found = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))
    assert (
        "work/finetuning/gone/aaaa" in found["abandoned work"].message and "(1 kB)" in found["abandoned work"].message
    )
    assert "work/finetuning/audio/bbbb" in found["unfinished work"].message
    assert found["abandoned work"].fix() == "removed work/finetuning/gone/aaaa: 1 kB"
    assert not old.exists() and now.exists() and logs.exists()


def test_shards_of_a_stage_that_finished_with_the_present_parameters_are_abandoned(place):
    old = holding(place / "work" / "transcription" / "aaaa")
    params = read_params(place / "params.yaml")
    assert by_check(leftovers.leftovers(place, params))["abandoned work"].state == "ok"
    params = locked(place, "transcription", "transcription")
    found = by_check(leftovers.leftovers(place, params))["abandoned work"]
    assert found.state == "warning" and found.fix().startswith("removed work/transcription/aaaa") and not old.exists()
    old = holding(place / "work" / "transcription" / "aaaa")
    params["transcription"]["silence_dbfs"] = -50.0  # changed since: these may be the shards that it goes on from
    assert by_check(leftovers.leftovers(place, params))["abandoned work"].state == "ok"


def test_nothing_is_removed_while_a_run_holds_its_lock(place):
    old = holding(place / "work" / "finetuning" / "gone" / "aaaa")
    finding = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))["abandoned work"]
    with (old / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert finding.fix() == "nothing was removed, a stage runs now" and old.exists()
        again = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))
        assert again["abandoned work"].state == "ok" and again["abandoned work"].fix is None


def test_temporary_files_of_a_kill_are_removed_and_links_are_not_followed(place, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "precious").write_text("x")
    (place / "data").mkdir()
    (place / "data" / ".fused.parquet.123.tmp").write_bytes(bytes(10))
    (place / "models").mkdir()
    (place / "models" / ".audio.9.tmp").mkdir()
    (place / "models" / ".audio.9.tmp" / ".b.tmp").write_bytes(bytes(5))
    (place / "models" / ".audio.9.tmp" / "link").symlink_to(outside)
    (place / "data" / ".link.tmp").symlink_to(outside)
    found = by_check(leftovers.leftovers(place, None))["temporary files"]
    assert found.message.startswith("2 left by a kill")
    found.fix()
    assert not list(place.rglob(".*.tmp")) or [each.name for each in place.rglob(".*.tmp")] == [".link.tmp"]
    assert (outside / "precious").exists()


@pytest.fixture
def orphan(place):
    """Start a stage whose parent ends at once."""
    inner = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '-m',"
    inner += " 'stages.embedding'], stdin=-3, stdout=-3, stderr=-3, start_new_session=True); print(p.pid)"
    done = subprocess.run([sys.executable, "-c", inner], cwd=place, capture_output=True, text=True, check=True)
    process = psutil.Process(int(done.stdout))
    while "stages.embedding" not in process.cmdline():
        time.sleep(0.01)
    yield process
    if process.is_running():
        process.kill()


def test_an_orphan_is_found_and_ended_only_on_request(place, orphan):
    (found,) = processes.processes(place)
    assert found.state == "warning" and str(orphan.pid) in found.message and found.fix is None
    assert "kill" in found.remedy and orphan.is_running()
    (found,) = processes.processes(place, end=True)
    assert found.fix() == f"ended {orphan.pid}"
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert [each.state for each in processes.processes(place)] == ["ok"]


def test_a_stage_whose_parent_lives_and_a_process_elsewhere_are_no_orphans(place, tmp_path_factory):
    child = started(place, "-m", "stages.embedding")
    other = started(tmp_path_factory.mktemp("elsewhere"), "-m", "stages.embedding")
    try:
        assert processes.orphans(place) == []
        assert [each.pid for each in processes.running(place, "stages")] == [child.pid]
    finally:
        for each in (child, other):
            each.kill()
            each.wait()


def test_the_size_of_the_cache_is_told_and_it_is_cleared_on_request_alone(place, monkeypatch, capsys):
    assert leftovers.cache(place, 20.0).message == "empty"
    folder = place / "work" / "cache" / "embedding" / "aaaa"
    holding(folder, "0000.parquet")
    assert leftovers.cache(place, 20.0) == Result(
        "cache",
        "ok",
        "1 kB of transcripts and layers in work/cache, at most 20 GB (cache.limit_gb); --clear-cache removes them",
    )
    monkeypatch.chdir(place)
    diagnose(fix=True)
    assert "of transcripts and layers" in " ".join(capsys.readouterr().out.split())
    assert packs_in(place / "work")
    with store.locked(folder):
        assert leftovers.clear_cache(place) == "cache: nothing was removed; a run reads what is left"
    diagnose(clear_cache=True, dvc_only=True)
    assert "1 of 1 packs removed" in capsys.readouterr().out and not folder.exists()
    assert leftovers.clear_cache(place) == "cache: it is empty"
