"""Bytes that do not depend on batches, shards, workers, kills, lack of memory and what was cached."""

import shutil

import numpy as np
import pytest
import torch

from pipeline_lib.embedding import shard
from pipeline_lib.errors import InputError
from pipeline_lib.shards.packs import packs_in
from pipeline_lib.tables import embeddings
from tests.embedding.runs import digest, run


def test_two_runs_give_the_same_bytes(corpus, entry, tmp_path):
    settings = entry("hubert_group", frames=True)
    first = digest(run(corpus, settings, tmp_path, "one"))
    shutil.rmtree(tmp_path / "work")
    assert digest(run(corpus, settings, tmp_path, "two")) == first


@pytest.mark.parametrize(
    "batching",
    [{"batch": {"size": 1}}, {"batch": {"size": 10}, "shard_size": 10}, {"batch": {"size": 3, "seconds": 1.1}}],
)
def test_vectors_do_not_depend_on_batches_and_shards(batching, corpus, entry, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "size_on", lambda device, size: size)  # as on a GPU
    one, other = (
        run(corpus, entry("wavlm_group", **how), tmp_path, str(i), work=f"work{i}")
        for i, how in enumerate(({}, batching))
    )
    for layer in range(4):
        first, second = (embeddings.read_layer(folder, layer)[1] for folder in (one, other))
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)  # one step of float16


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(corpus, entry, tmp_path, monkeypatch):
    settings = entry("hubert_layer", frames=True)
    whole = digest(run(corpus, settings, tmp_path, "whole"))
    shutil.rmtree(tmp_path / "work")
    real, calls = shard.embed_batch, []

    def dies(*args, **kwargs):
        calls.append(args[2])
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, settings, tmp_path, "cut")
    assert not (tmp_path / "cut").exists()
    done = calls.copy()
    assert digest(run(corpus, settings, tmp_path, "cut")) == whole
    again = [utterance_id for batch in calls[len(done) :] for utterance_id in batch]
    assert sorted(again) == [f"u{i}" for i in range(4, 10)]  # the first shard, u0 to u3, was not computed twice


def test_two_entries_share_what_is_the_same_and_nothing_else(corpus, entry, tmp_path, calls):
    run(corpus, entry("bert"), tmp_path)
    assert len(calls) == 9  # one of ten texts is there twice
    run(corpus, entry("bert", batch={"size": 1}, shard_size=2), tmp_path, limit_gb=1.0, workers=2)  # change no value
    run(corpus, entry("bert", layers=[0, 1, 2, 3]), tmp_path)  # all of them
    assert len(calls) == 9
    for change in ({"pooling": "mean_std"}, {"layers": [0, 1, 2]}, {"frames": True}):
        calls.clear()
        run(corpus, entry("bert", **change), tmp_path)
        assert len(calls) == 9, change


def out_of_memory(monkeypatch, most: int) -> list[int]:
    """Let a forward pass with more than ``most`` utterances fail as CUDA's does; return the sizes that were tried."""
    monkeypatch.setattr(shard, "size_on", lambda device, size: size)
    real, tried = shard.embed_batch, []

    def short(encoder, inputs, ids, *args, **kwargs):
        tried.append(len(ids))
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(encoder, inputs, ids, *args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", short)
    return tried


def test_out_of_memory_halves_the_batches_once_and_says_so(corpus, entry, tmp_path, monkeypatch, capsys):
    settings = entry("hubert_group", batch={"size": 4}, shard_size=5)
    expected = embeddings.read_layer(run(corpus, settings, tmp_path, "whole"), 3)[1]
    shutil.rmtree(tmp_path / "work")
    tried = out_of_memory(monkeypatch, most=2)
    vectors = embeddings.read_layer(run(corpus, settings, tmp_path), 3)[1]
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)
    assert tried == [4, 2, 2, 1, 2, 2, 1]  # the shard begins anew, the next one begins with halves
    console = capsys.readouterr().err
    assert console.count("out of memory with 4 utterances a forward pass (the longest is ") == 1
    assert "; going on with half as many at once" in console


def test_out_of_memory_with_half_a_batch_stops_with_the_remedy(corpus, entry, tmp_path, monkeypatch):
    out_of_memory(monkeypatch, most=1)
    with pytest.raises(
        InputError,
        match=r"2 utterances a forward pass \(the longest is 'u1', 1.6 s\), cut in two; lower batch.size",
    ):
        run(corpus, entry("hubert_group", batch={"size": 4}), tmp_path)


def test_memory_that_does_not_hold_one_utterance_on_a_cpu_is_told_with_another_remedy(corpus, entry, tmp_path, calls):
    calls.fails = 0
    with pytest.raises(InputError, match=r"1 utterances a forward pass .*; choose another device, or have"):
        run(corpus, entry("hubert_group", batch={"size": 4}), tmp_path)


def test_two_workers_write_the_bytes_of_one_process(corpus, entry, tmp_path):
    settings = entry("hubert_group", frames=True)
    alone = digest(run(corpus, settings, tmp_path, "alone", work="one"))
    spread = run(corpus, settings, tmp_path, "spread", work="two", executor={"workers": 2})
    assert digest(spread) == alone
    one, two = ({path.name for path in packs_in(tmp_path / work)} for work in ("one", "two"))
    assert one == two and len(one) == 3
