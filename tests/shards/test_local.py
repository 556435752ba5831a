"""Workers as processes: the same bytes as without them, whoever is killed when."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.executor import ExecutorSettings
from pipeline_lib.shards import files, local, store
from tests.shards.jobs import PLAN, N, Squares, asked, pids

TWO = ExecutorSettings(workers=2)


def run(folder: Path, job: Squares, executor: ExecutorSettings = TWO) -> list[int]:
    tables = store.run_shards(folder, PLAN, job.compute, "squaring", job=job, executor=executor)
    return pa.concat_tables(tables).column("square").to_pylist()


def digests(folder: Path) -> dict[str, str]:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("shard_*"))}
    assert len(found) == 2 * len(PLAN)
    return found


@pytest.fixture(scope="session")
def expected(tmp_path_factory) -> dict[str, str]:
    """SHA-256 of what one process without workers writes."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "notes").mkdir()
    assert run(folder, Squares(str(folder / "notes")), ExecutorSettings()) == [row * row for row in range(N)]
    return digests(folder)


def until(true, seconds: float = 30.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_two_workers_write_the_bytes_of_none_and_each_shard_once(tmp_path, expected):
    assert run(tmp_path, Squares(str(tmp_path / "notes"), pause_s=0.1)) == [row * row for row in range(N)]
    assert digests(tmp_path) == expected
    assert asked(tmp_path / "notes") == sorted(PLAN)
    assert len(pids(tmp_path / "notes")) == 2
    assert not any(map(alive, pids(tmp_path / "notes")))


def test_finished_shards_start_no_worker(tmp_path, expected):
    run(tmp_path, Squares(str(tmp_path / "notes")))
    run(tmp_path, Squares(str(tmp_path / "again"), unloadable=True))
    assert digests(tmp_path) == expected
    assert not (tmp_path / "again").exists()


def test_workers_killed_at_random_lose_and_double_nothing(tmp_path, expected):
    folder, notes = tmp_path / "work", tmp_path / "notes"
    drawn, killed = random.Random(1), []

    def kill() -> None:
        while len(killed) < 3:
            time.sleep(drawn.uniform(0.2, 0.5))
            here = sorted(pid for pid in pids(notes) if alive(pid)) if notes.exists() else []
            if here:
                killed.append(drawn.choice(here))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    patient = TWO.model_copy(update={"max_attempts": 9})
    assert run(folder, Squares(str(notes), pause_s=0.4), patient) == [row * row for row in range(N)]
    assert len(killed) == 3
    assert digests(folder) == expected


def test_a_shard_that_kills_once_is_tried_again(tmp_path, expected):
    run(tmp_path, Squares(str(tmp_path / "notes"), fragile=(8,)))
    assert digests(tmp_path) == expected
    assert asked(tmp_path / "notes").count([8, 9, 10, 11]) == 2


def test_the_row_that_kills_is_found_and_everything_else_is_finished(tmp_path, expected):
    job = Squares(str(tmp_path / "notes"), deadly=(9,))
    wanted = r"squaring: 1 utterances killed every worker .* 'u09' \(killed by SIGKILL .* corpus.exclude: \[u09\]"
    with pytest.raises(InputError, match=wanted):
        run(tmp_path, job, TWO.model_copy(update={"max_attempts": 2}))
    kept = sorted(tmp_path.glob("shard_*.json"))
    assert [path.name for path in kept] == [f"shard_{i:05d}.json" for i in range(len(PLAN)) if i != 2]
    tried = asked(tmp_path / "notes")
    assert tried.count([8, 9, 10, 11]) == 2
    assert [each for each in tried if len(each) < 4] == [[8], [8, 9], [9], [9], [10, 11]]
    run(tmp_path, Squares(str(tmp_path / "mended")))  # the same command, more memory say
    assert asked(tmp_path / "mended") == [[8, 9, 10, 11]]
    assert digests(tmp_path) == expected


def test_workers_that_die_while_they_load_end_the_run(tmp_path):
    with pytest.raises(InputError, match="2 workers died while they loaded the model, the last one killed by SIGKILL"):
        run(tmp_path, Squares(str(tmp_path / "notes"), unloadable=True), ExecutorSettings(workers=1, max_attempts=2))


def test_a_mistake_of_the_users_ends_the_run_with_its_message(tmp_path):
    with pytest.raises(InputError, match="^row 5 is wrong$"):
        run(tmp_path, Squares(str(tmp_path / "notes"), wrong=(5,)))
    until(lambda: not any(map(alive, pids(tmp_path / "notes"))), 1.0)


def test_a_mistake_of_ours_ends_the_run_with_the_workers_traceback(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)a worker failed:.*in compute.*ZeroDivisionError: division by a broken"):
        run(tmp_path, Squares(str(tmp_path / "notes"), broken=(5,)))


def test_a_consumer_that_stops_leaves_no_worker(tmp_path):
    job = Squares(str(tmp_path / "notes"), pause_s=0.1)
    tables = store.run_shards(tmp_path, PLAN, None, "squaring", job=job, executor=TWO)
    next(tables)
    here = pids(tmp_path / "notes")
    tables.close()
    assert here and not any(map(alive, here))


def test_shards_of_another_plan_are_computed_again(tmp_path, expected):
    other = [rows[::-1] for rows in PLAN]
    job = Squares(str(tmp_path / "notes"))
    list(store.run_shards(tmp_path, other, None, "squaring", job=job, executor=TWO))
    run(tmp_path, job)
    assert digests(tmp_path) == expected


DRIVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from pipeline_lib.shards import store
    from pipeline_lib.params.executor import ExecutorSettings
    from tests.shards.jobs import PLAN, Squares

    if __name__ == "__main__":
        job = Squares(sys.argv[2], pause_s=float(sys.argv[3]))
        executor = ExecutorSettings(workers=2)
        for table in store.run_shards(Path(sys.argv[1]), PLAN, None, "squaring", job=job, executor=executor):
            pass
    """
)


def driver(tmp_path: Path, pause_s: float) -> subprocess.Popen:
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, "driver.py", "work", "notes", str(pause_s)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_when_the_driver_is_gone_its_workers_go_and_the_same_command_resumes(tmp_path, expected, by):
    running = driver(tmp_path, 0.4)
    notes = tmp_path / "notes"
    until(lambda: len(list((tmp_path / "work").glob("shard_*.json"))) >= 3)
    here = pids(notes)
    running.send_signal(by)
    running.communicate()
    until(lambda: not any(map(alive, here)), 5.0)
    finished = len(list((tmp_path / "work").glob("shard_*.json")))
    assert len(asked(notes)) - finished <= 2  # at most what was in flight is lost
    assert driver(tmp_path, 0.0).wait(timeout=60) == 0
    assert digests(tmp_path / "work") == expected
    assert len(asked(notes)) <= len(PLAN) + 2


def test_a_worker_of_an_earlier_run_cannot_commit(tmp_path):
    table = pa.table({"row": [1]})
    old = files.raise_token(tmp_path)
    new = files.raise_token(tmp_path)
    assert (old.split()[0], new.split()[0]) == ("1", "2")
    with pytest.raises(files.Superseded, match="run 2 has taken .* over from run 1"):
        files.commit(files.shard_path(tmp_path, 0), table, [1], old)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".token"]
    files.commit(files.shard_path(tmp_path, 0), table, [1], new)
    assert files.is_finished(files.shard_path(tmp_path, 0), [1])


def test_a_folder_made_anew_has_another_token_than_the_discarded_one(tmp_path):
    tokens = set()
    for _ in range(2):
        (tmp_path / "work").mkdir()
        tokens.add(files.raise_token(tmp_path / "work"))
        store.discard(tmp_path / "work")
    assert len(tokens) == 2


def test_a_run_that_was_overtaken_commits_nothing_more_and_ends(tmp_path, expected):
    job = Squares(str(tmp_path / "notes"), pause_s=0.2)
    first = store.run_shards(tmp_path / "work", PLAN, None, "squaring", job=job, executor=TWO)
    next(first)
    files.raise_token(tmp_path / "work")  # as a driver on another machine, where the file system has no locks
    before = set((tmp_path / "work").glob("shard_*"))
    with pytest.raises(InputError, match="run 2 has taken .* over from run 1"):
        list(first)
    assert set((tmp_path / "work").glob("shard_*")) - before == set()
    assert not any(map(alive, pids(tmp_path / "notes")))
    run(tmp_path / "work", Squares(job.notes))
    assert digests(tmp_path / "work") == expected


def test_a_worker_that_does_not_see_the_folder_says_that_it_must_be_shared(tmp_path):
    with pytest.raises(InputError, match="does not see .* must lie on a file system that all machines share"):
        files.check_shared(tmp_path / "elsewhere", "1 abc")


@pytest.mark.parametrize(
    ("gpus", "workers", "each", "seen"),
    [
        (["0", "1"], 2, 1.0, ["0", "1"]),
        (["2", "5"], 4, 0.5, ["2", "5", "2", "5"]),
        (["0", "1", "2", "3"], 2, 2.0, ["0,1", "2,3"]),
        (["0"], 3, 1 / 3, ["0", "0", "0"]),
        (["0"], 2, 0.0, ["", ""]),
        ([], 2, 1.0, [None, None]),
    ],
)
def test_gpus_are_shared_out(gpus, workers, each, seen):
    assert local.shares(gpus, workers, each) == seen


def test_more_workers_than_the_gpus_hold_are_refused():
    with pytest.raises(
        InputError, match="executor.workers is 3 and gpus_per_worker 1; 2 GPUs are visible, which hold 2"
    ):
        local.shares(["0", "1"], 3, 1.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "ray"}, "workers is 0, which is in this process, and kind is 'ray'"),
        ({"workers": 1, "gpus_per_worker": 1.5}, "above 1 a whole number is expected"),
        ({"kind": "slurm", "workers": 1, "gpus_per_worker": 0.5}, "SLURM gives whole GPUs"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, said):
    with pytest.raises(ParameterError, match=said):
        ExecutorSettings.parse(given, "transcription.executor")
