"""SLURM arrays, run by submitit on this machine."""

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from tests.shards.jobs import PLAN, N, Squares, asked
from tests.shards.test_local import digests, run

pytest.importorskip("submitit", reason="submitit is not installed (pip install -e '.[cluster]')")

from pipeline_lib.shards import slurm  # noqa: E402

TWO = ExecutorSettings(kind="slurm", workers=2, max_attempts=1)


@pytest.fixture
def here(monkeypatch):
    """Let submitit run the tasks of arrays as processes of this machine."""
    monkeypatch.setattr(slurm, "CLUSTER", "local")
    monkeypatch.setattr(slurm, "POLL_S", 0.2)


def test_two_array_tasks_write_the_bytes_of_none_and_each_shard_once(here, tmp_path):
    (tmp_path / "alone" / "notes").mkdir(parents=True)
    run(tmp_path / "alone", Squares(str(tmp_path / "alone" / "notes")), ExecutorSettings())
    work = tmp_path / "work"
    assert run(work, Squares(str(tmp_path / "notes")), TWO) == [row * row for row in range(N)]
    assert digests(work) == digests(tmp_path / "alone")
    assert asked(tmp_path / "notes") == sorted(PLAN)


def test_what_a_dead_array_task_left_is_submitted_again_and_the_row_that_kills_is_found(here, tmp_path):
    with pytest.raises(InputError, match=r"1 utterances killed every worker .*'u05' \(ended in state"):
        run(tmp_path / "work", Squares(str(tmp_path / "notes"), deadly=(5,)), TWO)
    assert len(list((tmp_path / "work").glob("shard_*.json"))) == len(PLAN) - 1
    tried = asked(tmp_path / "notes")
    assert [each for each in tried if len(each) < 4] == [[4], [4, 5], [5], [6, 7]]
    assert all(tried.count(rows) == 1 for rows in PLAN)


def test_a_mistake_of_the_users_comes_back_with_its_message(here, tmp_path):
    with pytest.raises(InputError, match="^row 5 is wrong$"):
        run(tmp_path / "work", Squares(str(tmp_path / "notes"), wrong=(5,)), TWO)


def test_without_slurm_the_command_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="this machine has no sbatch; run the command on a login node"):
        run(tmp_path, Squares(str(tmp_path / "notes")), TWO)


def test_a_worker_ends_when_the_heartbeat_stands_still(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(slurm, "SILENCE_S", 0.2)
    monkeypatch.setattr(slurm.os, "_exit", ended.append)
    (tmp_path / "beat").write_bytes(b"0")
    slurm._watch(tmp_path / "beat")
    assert ended == [75]
