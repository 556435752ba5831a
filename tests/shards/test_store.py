"""The shard store under interruption, damage and rivals."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.shards import store
from pipeline_lib.storage.fingerprint import code_digest, file_digest, fingerprint

PLAN = [[4, 2], [0, 1], [3]]


class Squares:
    """Computes the square of each row number and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, rows: list[int]) -> pa.Table:
        self.asked.append(rows)
        return pa.table({"row": rows, "square": [row * row for row in rows]})


def squares(folder: Path, compute: Squares, plan: store.Plan = PLAN) -> list[int]:
    tables = list(store.run_shards(folder, plan, compute, "squaring"))
    return pa.concat_tables(tables).column("square").to_pylist()


def test_tables_come_in_the_order_of_the_plan(tmp_path):
    assert squares(tmp_path / "a", Squares()) == [16, 4, 0, 1, 9]


def test_a_second_run_computes_nothing(tmp_path):
    squares(tmp_path, Squares())
    again = Squares()
    assert squares(tmp_path, again) == [16, 4, 0, 1, 9]
    assert again.asked == []


def test_after_an_exception_only_unfinished_shards_are_computed(tmp_path):
    broken = store.run_shards(tmp_path, PLAN, lambda rows: Squares()(rows) if 0 not in rows else 1 / 0, "squaring")
    with pytest.raises(ZeroDivisionError):
        list(broken)
    again = Squares()
    assert squares(tmp_path, again) == [16, 4, 0, 1, 9]
    assert again.asked == [[0, 1], [3]]


def test_a_damaged_shard_is_computed_again_with_a_warning(tmp_path, capsys):
    squares(tmp_path, Squares())
    shard = tmp_path / "shard_00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    again = Squares()
    assert squares(tmp_path, again) == [16, 4, 0, 1, 9]
    assert again.asked == [[0, 1]]
    assert "shard_00001.parquet does not match its checksum" in capsys.readouterr().err
    assert shard.read_bytes() == whole


@pytest.mark.parametrize(
    ("victim", "said"), [("shard_00002.json", "has no checksum"), ("shard_00002.parquet", "is missing")]
)
def test_half_of_a_shard_is_no_shard(tmp_path, capsys, victim, said):
    squares(tmp_path, Squares())
    (tmp_path / victim).unlink()
    again = Squares()
    squares(tmp_path, again)
    assert again.asked == [[3]]
    assert said in capsys.readouterr().err


def test_shards_of_another_plan_are_not_taken(tmp_path):
    squares(tmp_path, Squares())
    again = Squares()
    assert squares(tmp_path, again, [[2, 4], [0, 1], [3]]) == [4, 16, 0, 1, 9]
    assert again.asked == [[2, 4]]


def test_stale_temporary_files_are_removed(tmp_path):
    (tmp_path / ".shard_00000.parquet.77.tmp").write_bytes(b"half")
    squares(tmp_path, Squares())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", ".token", *(f"shard_0000{n}.{kind}" for n in range(3) for kind in ("json", "parquet"))]


def test_discard_removes_the_folder_and_may_be_repeated(tmp_path):
    folder = tmp_path / "work"
    squares(folder, Squares())
    store.discard(folder)
    store.discard(folder)
    assert not folder.exists()


SLOW = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import pyarrow as pa
    from pipeline_lib.shards import store

    def compute(rows):
        time.sleep(float(sys.argv[2]))
        return pa.table({"row": rows, "noise": [str(row) * 50 for row in rows]})

    for table in store.run_shards(Path(sys.argv[1]), [[i] for i in range(8)], compute, "slow"):
        pass
    """
)


def slow(folder: Path, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, str(folder), str(seconds)]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )


def until_there(path: Path) -> None:
    limit = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < limit, f"{path} did not appear"
        time.sleep(0.02)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard_*"))}


def test_killed_in_the_middle_the_same_command_finishes_with_the_same_bytes(tmp_path):
    assert slow(tmp_path / "whole", 0).wait() == 0
    first = slow(tmp_path / "cut", 0.2)
    until_there(tmp_path / "cut" / "shard_00002.json")
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = shards(tmp_path / "cut")
    assert 6 <= len(kept) < 16
    second = slow(tmp_path / "cut", 0)
    said = second.communicate()[1]
    assert second.returncode == 0
    assert "of 8 shards taken from an earlier run" in said
    assert shards(tmp_path / "cut") == shards(tmp_path / "whole")


def test_a_second_run_waits_and_takes_what_the_first_computed(tmp_path):
    plan = [[row] for row in range(8)]
    first = store.run_shards(tmp_path / "both", plan, Squares(), "squaring")
    next(first)
    second = slow(tmp_path / "both", 60)  # it would take eight minutes, were it to compute
    assert "waiting for it" in second.stderr.readline()
    list(first)
    said = second.communicate(timeout=60)[1]
    assert second.returncode == 0
    assert "8 of 8 shards taken from an earlier run" in said


def test_a_folder_discarded_while_another_run_waits_is_made_anew(tmp_path):
    folder = tmp_path / "both"
    running = store.run_shards(folder, PLAN, Squares(), "squaring")
    next(running)
    second = slow(folder, 0)
    assert "waiting for it" in second.stderr.readline()
    store.discard(folder)
    running.close()
    assert second.wait(timeout=60) == 0
    assert len(shards(folder)) == 16


def test_by_length_puts_the_longest_first_and_fills_whole_batches():
    plan = store.by_length([1.0, 3.0, 2.0, 3.0, float("nan"), 0.5], shard_size=3, batch=2)
    assert plan == [[1, 3, 2, 0], [5, 4]]


def test_by_length_has_every_row_once():
    durations = np.random.default_rng(0).exponential(3.0, size=1000)
    plan = store.by_length(durations, shard_size=64, batch=16)
    assert sorted(row for shard in plan for row in shard) == list(range(1000))
    assert {len(shard) for shard in plan[:-1]} == {64}


def test_fingerprint_follows_content_and_not_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [2]}, "x") == fingerprint({"b": [2], "a": 1}, "x")
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert len(fingerprint()) == 16


def test_file_digest_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_file_digest_of_a_folder_follows_names_and_contents_and_not_its_place(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "deep" / "x").write_bytes(b"1")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "two")
    (tmp_path / "two" / "deep" / "x").rename(tmp_path / "two" / "deep" / "y")
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "two")


def test_file_digest_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="no.nemo does not exist"):
        file_digest(tmp_path / "no.nemo")


def test_code_digest_follows_the_code(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("x = 1\n")
    before = code_digest(tmp_path / "room", store)
    (tmp_path / "room" / "notes.txt").write_text("no code")
    assert code_digest(tmp_path / "room", store) == before
    (tmp_path / "room" / "a.py").write_text("x = 2\n")
    assert code_digest(tmp_path / "room", store) != before
