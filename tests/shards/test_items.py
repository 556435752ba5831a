"""The cache of items: what is computed, the order in which it comes back, damage, kills and the limit."""

import hashlib
import json
import os

import pyarrow as pa
import pytest

from pipeline_lib.shards import items, packs
from pipeline_lib.shards.batches import size_on
from pipeline_lib.tables.origin import Origin


class Squares:
    """Squares of numbers, computed by row; remembers the rows."""

    def __init__(self, numbers, device="cpu", fails=None):
        self.numbers, self.device, self.fails = numbers, device, fails
        self.rows: list[int] = []

    def __call__(self, rows: list[int]) -> pa.Table:
        if self.fails in rows:
            raise ZeroDivisionError
        self.rows += rows
        table = pa.table({"row": rows, "square": [self.numbers[row] ** 2 for row in rows]})
        return Origin(self.device, "float32").mark(table)


def plan(rows: list[int]) -> list[list[int]]:
    return [rows[i : i + 2] for i in range(0, len(rows), 2)]


def run(work, numbers, compute=None, fingerprint="f", of=None):
    """Return the squares, the rows that were computed, and the origin."""
    compute = compute or Squares(numbers)
    keys = items.keys_of(numbers)
    with items.computed(work, "squaring", fingerprint, dict(enumerate(keys)), plan, compute, "squaring") as kept:
        table = kept.take(items.keys_of(numbers if of is None else of))
        return table.column("square").to_pylist(), compute.rows, kept.origin


def test_a_key_is_the_sha256_of_the_content():
    content = ["ab", 0.5, None]
    assert items.keys_of([content]) == [hashlib.sha256(b'["ab",0.5,null]').hexdigest()]
    assert len(set(items.keys_of(["a", "a", ["a"], None, "", ["a", None, 1.0], ["a", 1.0, None]]))) == 6


def test_only_what_is_new_is_computed_and_rows_come_in_the_order_of_the_request(tmp_path):
    assert run(tmp_path, [3, 1, 2]) == ([9, 1, 4], [0, 1, 2], Origin("cpu", "float32"))
    assert run(tmp_path, [5, 2, 4, 3, 2])[:2] == ([25, 4, 16, 9, 4], [0, 2])
    assert run(tmp_path, [1, 2, 3, 4, 5], of=[5, 1, 5])[:2] == ([25, 1, 25], [])
    assert not (tmp_path / "squaring" / "f").exists()


def test_equal_items_are_computed_once_and_another_fingerprint_shares_nothing(tmp_path, capsys):
    assert run(tmp_path, [7, 7, 6, 7])[1] == [0, 2]
    assert "squaring: 0 of 2 cached (2 more are copies of others)" in capsys.readouterr().err
    assert run(tmp_path, [7, 6], fingerprint="g")[1] == [0, 1]


def test_a_pack_is_named_by_its_bytes_and_they_do_not_depend_on_row_numbers(tmp_path):
    run(tmp_path / "a", [1, 2, 3, 4])
    run(tmp_path / "b", [9, 1, 2])
    a, b = ({path.name: path.read_bytes() for path in packs.packs_in(tmp_path / name)} for name in "ab")
    for name, content in (a | b).items():
        assert name == f"{hashlib.sha256(content).hexdigest()}.parquet"
    run(tmp_path / "c", [8, 9, 1, 2])
    c = {path.name for path in packs.packs_in(tmp_path / "c")}
    assert len(c & set(a)) == 1  # the shard of 1 and 2


def test_the_origin_is_that_of_the_packs_that_rows_come_from(tmp_path):
    run(tmp_path, [1, 2], Squares([1, 2], "cuda"))
    both = [1, 2, 3]
    assert run(tmp_path, both)[2] == Origin("cpu, cuda", "float32")
    assert run(tmp_path, both, of=[3])[2] == Origin("cpu", "float32")


@pytest.mark.parametrize("at", [0, 0.5, -1])
def test_a_damaged_pack_is_removed_with_a_count_and_computed_again(tmp_path, capsys, at):
    run(tmp_path, [1, 2, 3, 4])
    victim = packs.packs_in(tmp_path)[0]
    content = bytearray(victim.read_bytes())
    content[int(at * len(content)) if at >= 0 else at] ^= 1
    victim.write_bytes(content)
    squares, rows, _ = run(tmp_path, [1, 2, 3, 4])
    assert squares == [1, 4, 9, 16] and rows in ([0, 1], [2, 3])
    assert "1 of 2 packs are damaged and were removed" in capsys.readouterr().err
    assert run(tmp_path, [1, 2, 3, 4])[1] == []


def test_a_kill_costs_the_shards_that_were_not_finished(tmp_path):
    numbers = list(range(8))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, numbers, Squares(numbers, fails=5))
    (unfinished,) = (tmp_path / "squaring" / "f").iterdir()
    sidecar = unfinished / "shard_00001.json"
    sidecar.unlink()  # as when killed between table and checksum
    (tmp_path / "cache" / "squaring" / "f" / ".x.parquet.host.1.tmp").write_bytes(b"half")
    squares, rows, _ = run(tmp_path, numbers)
    assert squares == [n * n for n in numbers] and rows == [2, 3, 4, 5, 6, 7]
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "squaring" / "f").exists()


def test_a_damaged_shard_of_a_killed_run_becomes_no_pack(tmp_path, capsys):
    numbers = list(range(4))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, numbers, Squares(numbers, fails=3))
    (shard,) = tmp_path.glob("squaring/f/*/shard_*.parquet")
    sidecar = json.loads(shard.with_suffix(".json").read_bytes())
    shard.with_suffix(".json").write_text(json.dumps(sidecar | {"sha256": "0" * 64}))
    assert run(tmp_path, numbers)[1] == numbers
    assert "has no matching checksum" in capsys.readouterr().err


def test_the_limit_removes_the_longest_unused_first(tmp_path):
    for name in "abc":
        run(tmp_path, [1, 2], fingerprint=name)
    for path, days_old in zip(packs.packs_in(tmp_path), [1, 3, 2], strict=True):
        os.utime(path, (1e9 - 86_400 * days_old,) * 2)
    (size,) = {path.stat().st_size for path in packs.packs_in(tmp_path)}
    assert packs.trim(tmp_path, 3 * size / 1e9) == ""
    done = packs.trim(tmp_path, 2.5 * size / 1e9)
    assert done.startswith(f"{tmp_path / 'cache'}: 1 of 3 packs removed, the longest unused first: 0.0 MB, ")
    assert [path.parent.name for path in packs.packs_in(tmp_path)] == ["a", "c"]
    run(tmp_path, [1, 2], fingerprint="c")  # use makes it the youngest
    packs.trim(tmp_path, size / 1e9)
    assert [path.parent.name for path in packs.packs_in(tmp_path)] == ["c"]
    assert run(tmp_path, [1, 2], fingerprint="a")[1] == [0, 1]


def test_a_limit_of_zero_leaves_nothing_and_says_so(tmp_path, capsys):
    run(tmp_path, [1, 2, 3])
    packs.print_trimmed(tmp_path, 0.0)
    assert "2 of 2 packs removed" in (out := capsys.readouterr().out) and "(cache.limit_gb of machine.yaml is 0)" in out
    assert packs.packs_in(tmp_path) == [] and list((tmp_path / "cache" / "squaring").iterdir()) == []
    packs.print_trimmed(tmp_path, 0.0)
    assert capsys.readouterr().out == ""


def test_packs_that_a_run_reads_are_left(tmp_path):
    keys = dict(enumerate(items.keys_of([1, 2])))
    given = ("squaring", "f", keys, plan, Squares([1, 2]), "squaring")
    with items.computed(tmp_path, *given) as kept:
        assert packs.trim(tmp_path, 0.0) == ""
        assert kept.take(list(keys.values())).column("square").to_pylist() == [1, 4]
    assert packs.trim(tmp_path, 0.0) != ""


def test_few_packs_are_in_memory_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "IN_MEMORY", 0)
    numbers = list(range(20))
    run(tmp_path, numbers)
    kept = packs.Packs(tmp_path / "cache" / "squaring" / "f")
    assert kept.take(items.keys_of(numbers[::-1])).column("square").to_pylist() == [n * n for n in numbers[::-1]]
    assert len(kept._read) == 1


def test_a_cache_on_another_disk_is_written_by_copying(tmp_path, monkeypatch):
    elsewhere = tmp_path / "disk"
    (elsewhere / "cache").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "cache").symlink_to(elsewhere / "cache")
    real = packs.Path.replace

    def replace(path, target):
        if path.name.startswith("shard_"):
            raise OSError(packs.errno.EXDEV, "Invalid cross-device link")
        return real(path, target)

    monkeypatch.setattr(packs.Path, "replace", replace)
    assert run(tmp_path / "work", [1, 2, 3])[:2] == ([1, 4, 9], [0, 1, 2])
    assert len(list((elsewhere / "cache").rglob("*.parquet"))) == 2
    assert run(tmp_path / "work", [3, 2, 1])[1] == []


def test_a_batch_on_the_cpu_is_one_item():
    assert [size_on(device, 16) for device in ("cpu", "cuda", "mps", None)] == [1, 16, 16, 16]
