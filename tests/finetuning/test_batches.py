"""Which chunks make which batch."""

import numpy as np
import pytest

from pipeline_lib.finetuning import batches
from pipeline_lib.finetuning.settings import PhaseSettings

ROWS = np.arange(100, 203)
CLASSES = np.repeat([0, 1, 2, -1], [80, 15, 5, 3])
LENGTHS = np.random.default_rng(0).uniform(0.5, 9.0, len(ROWS))


def epoch(seeds=(1, 0, 0), **phase):
    return batches.epoch(ROWS, CLASSES, LENGTHS, PhaseSettings(**{"batch_size": 8, **phase}), seeds)


def rows_of(plan):
    return np.concatenate([batch.rows for batch in plan])


def test_an_epoch_holds_each_utterance_once_but_the_rest_that_fills_no_batch():
    plan = epoch()
    assert [len(batch) for batch in plan] == [8] * 12
    assert len(set(rows_of(plan))) == 96


def test_another_rest_is_left_out_each_epoch():
    left = [set(ROWS) - set(rows_of(epoch((1, 0, number)))) for number in range(3)]
    assert left[0] != left[1] != left[2]


def test_a_corpus_smaller_than_a_batch_is_one_batch():
    (batch,) = epoch(batch_size=500)
    assert sorted(batch.rows) == ROWS.tolist()


def test_chunks_lie_in_the_utterance_and_between_their_bounds():
    starts, durations, whole = [], [], dict(zip(ROWS, LENGTHS))
    for number in range(20):
        for batch in epoch((1, 0, number), chunk_s=[2.0, 4.0]):
            for row, start, duration in zip(batch.rows, batch.starts_s, batch.durations_s):
                assert start >= 0
                assert start + duration <= whole[row] + 1e-9
                assert duration == pytest.approx(whole[row]) if whole[row] < 2 else 2 <= duration <= 4
                if whole[row] > 8:
                    starts.append(start)
                    durations.append(duration)
    assert np.mean(durations) == pytest.approx(3.0, abs=0.1)
    assert min(starts) < 0.5 < 4 < max(starts)


def test_the_same_seed_phase_and_epoch_give_the_same_audio_and_others_do_not():
    def drawn(seeds):
        return [
            (b.rows.tolist(), b.starts_s.tolist(), b.durations_s.tolist()) for b in epoch(seeds, chunk_s=[2.0, 4.0])
        ]

    assert drawn((1, 0, 0)) == drawn((1, 0, 0))
    assert all(drawn((1, 0, 0)) != drawn(other) for other in ((2, 0, 0), (1, 1, 0), (1, 0, 1)))


def test_batches_are_of_like_length_and_in_random_order():
    whole = dict(zip(ROWS, LENGTHS))
    plan = epoch()
    spread = [np.ptp([whole[row] for row in batch.rows]) for batch in plan]
    assert np.mean(spread) < 1.5  # of 8.5 s
    means = [np.mean([whole[row] for row in batch.rows]) for batch in plan]
    assert means != sorted(means)


def test_a_balanced_sampler_draws_every_label_equally_often_and_no_utterance_without_one():
    plan = epoch(sampler="balanced", batch_size=10)
    counts = np.bincount(CLASSES[rows_of(plan) - 100], minlength=3)
    assert counts.sum() == 100
    assert counts.max() - counts.min() <= 1
    rare = np.bincount(rows_of(plan) - 100, minlength=len(ROWS))[95:100]
    assert rare.max() - rare.min() <= 1  # 33 draws of 5: each 6 or 7 times


@pytest.mark.parametrize(("batch_size", "accumulation", "steps"), [(8, 1, 12), (8, 5, 3), (500, 1, 1)])
def test_steps_in_an_epoch(batch_size, accumulation, steps):
    assert batches.steps_in_epoch(103, PhaseSettings(batch_size=batch_size, accumulation=accumulation)) == steps


def test_processes_and_pieces_share_a_batch_out():
    batch = epoch()[0]
    shared = np.concatenate([batch.of_process(i, 3).rows for i in range(3)])
    assert sorted(shared) == sorted(batch.rows)
    assert np.concatenate([piece.rows for piece in batch.pieces(2)]).tolist() == batch.rows.tolist()
