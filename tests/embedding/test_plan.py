"""Shards and batches against plans laid by hand."""

import pytest

from pipeline_lib.embedding.plan import batches, refuse_too_large, shards
from pipeline_lib.errors import InputError


def test_shards_are_consecutive_rows():
    assert shards([1] * 5, shard_size=2) == [[0, 1], [2, 3], [4]]
    assert shards([], shard_size=2) == []


def test_a_shard_stays_below_its_bytes_but_holds_a_row():
    assert shards([4, 4, 9, 1, 1, 30, 1], shard_size=9, largest=10) == [[0, 1], [2, 3], [4], [5], [6]]


def test_batches_are_of_like_length_the_longest_first():
    assert batches([2, 3, 4, 5], [0, 0, 1.0, 5.0, 3.0, 3.0], batch_size=3) == [[3, 4, 5], [2]]


def test_batches_stay_below_their_padded_seconds_but_hold_a_row():
    # 5 alone is over 4; 3 + 3 is over; 1.5 + 1 padded is 3, with a third 4.5
    assert batches(range(6), [5.0, 3.0, 3.0, 1.5, 1.0, 1.0], 9, most=4.0) == [[0], [1], [2], [3, 4], [5]]


def test_an_output_at_the_limit_is_let_through():
    refuse_too_large([500, 500], 1e-6, 2, frames=False)
    with pytest.raises(
        InputError, match="2 layers of 2 utterances would take 1e-06 GB, limit_gb is 9.9e-07; choose fewer"
    ):
        refuse_too_large([500, 500], 0.99e-6, 2, frames=False)
