"""Workers as Ray actors, on one small cluster that is started once for all tests here."""

import os
import signal
import threading
import time

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.executor import ExecutorSettings
from tests.shards.jobs import PLAN, N, Squares, asked, pids
from tests.shards.test_local import alive, digests, run, until

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[cluster]')")

TWO = ExecutorSettings(kind="ray", workers=2, max_attempts=2)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A cluster of two CPUs on this machine, which the executor finds running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "notes").mkdir()
    run(folder, Squares(str(folder / "notes")), ExecutorSettings())
    return digests(folder)


def test_two_actors_one_of_which_is_killed_write_the_bytes_of_none(tmp_path, expected):
    notes, killed = tmp_path / "notes", []

    def kill() -> None:
        while not killed:
            time.sleep(0.1)
            if notes.exists() and len(asked(notes)) >= 3:
                killed.append(max(pids(notes)))
                os.kill(killed[0], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    assert run(tmp_path, Squares(str(notes), pause_s=0.3), TWO) == [row * row for row in range(N)]
    assert len(killed) == 1
    assert digests(tmp_path) == expected
    until(lambda: not any(map(alive, pids(notes))), 10.0)


def test_the_row_that_kills_actors_is_found(tmp_path):
    once = TWO.model_copy(update={"max_attempts": 1})
    with pytest.raises(InputError, match="1 utterances killed every worker .*'u39' .ended, Ray reports"):
        run(tmp_path, Squares(str(tmp_path / "notes"), deadly=(39,)), once)
    assert len(list(tmp_path.glob("shard_*.json"))) == len(PLAN) - 1


def test_a_mistake_of_the_users_comes_back_with_its_message(tmp_path):
    with pytest.raises(InputError, match="^row 5 is wrong$"):
        run(tmp_path, Squares(str(tmp_path / "notes"), wrong=(5,)), TWO)
