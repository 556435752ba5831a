"""Folds keep speakers whole and labels even."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.folds import folds


def drawn(n=200, n_speakers=20):
    truth = np.random.default_rng(0).integers(0, 4, n)
    return truth, [f"s{i % n_speakers}" for i in range(n)]


def test_no_speaker_is_in_two_folds_and_labels_are_spread():
    truth, speakers = drawn()
    fold_of = folds(truth, speakers, 5, seed=1)
    assert sorted(set(fold_of)) == [0, 1, 2, 3, 4]
    for speaker in set(speakers):
        assert len(set(fold_of[[s == speaker for s in speakers]])) == 1
    counts = np.array([np.bincount(truth[fold_of == fold], minlength=4) for fold in range(5)])
    assert np.ptp(counts, axis=0).max() <= 8


def test_the_seed_deals_and_nothing_else_does():
    truth, speakers = drawn()
    np.testing.assert_array_equal(folds(truth, speakers, 5, seed=1), folds(truth, speakers, 5, seed=1))
    assert (folds(truth, speakers, 5, seed=1) != folds(truth, speakers, 5, seed=2)).any()


def test_an_unknown_speaker_is_a_speaker_alone():
    truth, _ = drawn(n=40)
    fold_of = folds(truth, [None] * 40, 5, seed=1)
    assert (np.bincount(fold_of) == 8).all()


def test_two_speakers_make_two_folds():
    truth, speakers = drawn(n_speakers=2)
    fold_of = folds(truth, speakers, 5, seed=1)
    assert sorted(set(fold_of)) == [0, 1] and len(set(fold_of[::2])) == 1


def test_a_lone_speaker_is_divided_and_it_is_said(capsys):
    truth, speakers = drawn(n_speakers=1)
    assert len(set(folds(truth, speakers, 5, seed=1))) == 5
    assert "all 200 tuning utterances are of speaker 's0'" in capsys.readouterr().out


def test_labels_that_occur_once_each_are_divided_all_the_same():
    assert len(set(folds(np.arange(6), [None] * 6, 5, seed=1))) == 5


def test_labels_rarer_than_the_folds_need_no_fewer_folds_where_another_has_enough():
    assert len(set(folds(np.array([0] * 9 + [1]), [None] * 10, 5, seed=1))) == 5


def test_one_utterance_is_refused():
    with pytest.raises(InputError, match="cross-fitting needs at least two tuning utterances, there are 1"):
        folds(np.array([0]), ["a"], 5, seed=1)
