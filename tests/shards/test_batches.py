"""Batches that are prepared ahead, and cut in two where memory runs out."""

import threading

import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.shards.batches import Halving, ahead, halves, is_out_of_memory


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_their_order_and_no_more_than_the_threads_and_one_are_ahead(workers):
    begun, lock = [], threading.Lock()

    def prepare(batch):
        with lock:
            begun.append(batch)
        return 10 * batch

    for number, (batch, inputs) in enumerate(ahead(range(9), prepare, workers)):
        assert (batch, inputs) == (number, 10 * number)
        assert len(begun) <= number + workers + 2
    assert sorted(begun) == list(range(9))
    assert list(ahead([], prepare, workers)) == []


def test_an_error_of_a_thread_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(ahead([1, 0], lambda batch: 1 / batch, 2))


def test_halves_hold_every_item_once():
    assert (halves([3]), halves([3, 4, 5]), halves("abcd")) == ([[3]], [[3, 4], [5]], ["ab", "cd"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_faults(error, expected):
    assert is_out_of_memory(error) is expected


def halving_run(halving, batch, room):
    """Return the sizes that went through, of a batch of which ``room`` items fit."""
    done = []

    def compute():
        for part in halving.parts(batch):
            if len(part) > room:
                raise MemoryError
            done.append(len(part))
        return done

    return halving.run(compute, lambda: len(halving.parts(batch)[0]), lambda: f"{len(batch)} items", "take fewer")


def test_batches_are_halved_once_with_a_message_and_stay_so(capsys):
    released = []
    halving = Halving(lambda: released.append(True))
    assert halving_run(halving, [1, 2, 3], room=2) == [2, 1]
    assert capsys.readouterr().err == "out of memory with 3 items; going on with half as many at once\n"
    assert halving_run(halving, [1, 2], room=2) == [1, 1]
    assert released == [True] and capsys.readouterr().err == ""
    with pytest.raises(InputError, match="out of memory with 9 items, cut in two; take fewer"):
        halving_run(halving, list(range(9)), room=2)


def test_a_single_item_and_another_fault_are_not_tried_again():
    with pytest.raises(InputError, match="out of memory with 1 items; take fewer"):
        halving_run(Halving(), [1], room=0)
    with pytest.raises(RuntimeError, match="shapes"):
        Halving().run(lambda: (_ for _ in ()).throw(RuntimeError("shapes")), int, str, "")
