"""Soft labels: the annotators' votes as targets, and what they do to weights, prior, sampler and posterior."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts.loading import Batch
from pipeline_lib.finetuning import optimisation, votes
from pipeline_lib.finetuning.batch_targets import BatchTargets
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.params.training import LossSettings, PhaseSettings
from tests.finetuning import corpora
from tests.finetuning.runs import LONG, SCORED, run

SOFT = {"targets": {"soft_labels": True}}
CAST = {
    "anger": {"anger": 3, "sadness": 1},
    "happiness": {"happiness": 5},
    "sadness": {"sadness": 2, "happiness": 2, "X": 4},  # no consensus
    "O": {"O": 3, "X": 1},
}
TARGETS = {"anger": [0.75, 0, 0.25, 0], "happiness": [0, 1, 0, 0], "sadness": [0, 0.5, 0.5, 0], "O": [0, 0, 0, 1]}


def voted(corpus, cast=CAST):
    """Return the corpus with votes by what was meant, and X where sadness was meant."""
    meant = corpus.frame["emotion"]
    frame = corpus.frame.assign(votes=[cast.get(label) for label in meant])
    frame.loc[meant == "sadness", "emotion"] = "X"
    return replace(corpus, frame=frame)


def settings(tones, **changes):
    return corpora.settings(tones.w2v_bert, "audio", **corpora.merged(SOFT, changes))


def counts_of(targets, train):
    job = SimpleNamespace(targets=targets, train=train)
    return TrainingContext.counts.fget(job), TrainingContext.soft_counts.fget(job)


def test_targets_are_the_shares_of_the_votes_without_x(tones):
    meant, targets = tones.corpus.frame["emotion"], targets_of(voted(tones.corpus), settings(tones))
    assert targets.labels == ("anger", "happiness", "sadness", "O")
    read = corpora.is_read(tones.corpus)
    np.testing.assert_allclose(targets.soft[read], [TARGETS[label] for label in meant[read]])
    assert targets.soft.dtype == np.float32 and not targets.soft[~read].any()
    np.testing.assert_array_equal(targets.emotion[read] == -1, meant[read] == "sadness")  # the consensus is for scores


def test_votes_for_labels_that_are_not_trained_are_left_out_and_the_rest_renormalised(tones):
    cast = {**CAST, "anger": {"anger": 3, "O": 4, "contempt": 1}}
    result = targets_of(voted(tones.corpus, cast), settings(tones, targets={"pseudo_labels": False}))
    assert result.labels == ("anger", "happiness", "sadness")
    angry = (tones.corpus.frame["emotion"] == "anger") & corpora.is_read(tones.corpus)
    np.testing.assert_allclose(result.soft[angry], [[1, 0, 0]] * 9)
    assert not result.soft[tones.corpus.frame["emotion"] == "O"].any()


def test_without_usable_votes_the_consensus_is_certain_and_without_either_there_is_no_target(tones):
    corpus = voted(tones.corpus)
    frame, (first, second, third) = corpus.frame.copy(), np.flatnonzero(corpus.mask("train"))[:3]
    for row, cast, emotion in ((first, None, "happiness"), (second, {"X": 3}, "X"), (third, {"anger": 0}, None)):
        frame.at[row, "votes"] = cast
        frame.at[row, "emotion"] = emotion
    corpus = replace(corpus, frame=frame)
    targets = targets_of(corpus, settings(tones))
    np.testing.assert_allclose(targets.soft[first], [0, 1, 0, 0])
    assert not targets.soft[[second, third]].any()
    train, _ = corpora.checked(corpus, settings(tones))
    assert first in train and second not in train and third not in train


def test_o_is_a_label_only_where_it_is_voted_for_in_train(tones):
    corpus = voted(tones.corpus, {**CAST, "O": {"anger": 1, "happiness": 1}})
    assert targets_of(corpus, settings(tones)).labels == ("anger", "happiness", "sadness")


def test_utterances_without_consensus_train_too(tones):
    corpus, options = voted(tones.corpus), settings(tones)
    train, _ = corpora.checked(corpus, options)
    assert len(train) == 24
    assert (corpus.frame["emotion"].to_numpy()[train] == "X").sum() == 6


@pytest.mark.parametrize(
    ("cast", "changes", "message"),
    [
        ({}, {}, r"tones has no annotators' votes for \['anger', .* set targets.soft_labels to false"),
        ({**CAST, "anger": {"happiness": 1}}, {}, r"has no training example of \['anger'\]"),
        (CAST, {"phases": {"only": {"sampler": "balanced"}}}, r"an example of every label, .* none of \['sadness'\]"),
    ],
)
def test_a_corpus_that_lacks_votes_or_a_consensus_to_balance_is_refused(tones, cast, changes, message):
    corpus, options = voted(tones.corpus, cast), settings(tones, **changes)
    with pytest.raises(InputError, match=message):
        corpora.checked(corpus, options)


def test_soft_labels_without_categories_are_refused(tones):
    changes = {"targets": {"emotion": False, "attributes": ["arousal"]}, "early_stopping": {"metric": "loss"}}
    with pytest.raises(InputError, match="targets.soft_labels is true and targets.emotion false"):
        settings(tones, **changes, losses={"cross_entropy": 0.0, "concordance": 1.0})


def test_class_weights_and_prior_come_from_the_mean_target(tones):
    corpus, options = voted(tones.corpus), settings(tones)
    targets = targets_of(corpus, options)
    train, _ = corpora.checked(corpus, options)
    counts, soft = counts_of(targets, train)
    assert counts.tolist() == [6, 6, 0, 6]
    mean = np.mean([TARGETS[label] for label in tones.corpus.frame["emotion"].to_numpy()[train]], axis=0)
    np.testing.assert_allclose(soft.sum(axis=0), 24 * mean, atol=1e-6)
    phase, plain, balanced = PhaseSettings(), LossSettings(), LossSettings(class_weights="balanced")
    np.testing.assert_allclose(optimisation.training_prior(counts, phase, plain, 0, soft), mean, atol=1e-7)
    weights = optimisation.class_weights(soft.sum(axis=0), balanced)
    np.testing.assert_allclose(weights, 24 / (4 * 24 * mean), rtol=1e-6)
    np.testing.assert_allclose(optimisation.training_prior(counts, phase, balanced, 0, soft), 0.25, rtol=1e-6)


@pytest.mark.parametrize("sampler", ["natural", "balanced", "annealed"])
def test_the_prior_is_the_mean_target_of_what_the_sampler_draws(sampler):
    # consensus 0 nine times with t = (2/3, 1/3), consensus 1 thrice with t = (0, 1), twice none with t = (1/2, 1/2)
    counts, soft = np.array([9, 3]), np.array([[6.0, 3.0], [0.0, 3.0], [1.0, 1.0]])
    phase = PhaseSettings(sampler=sampler, epochs=3)
    # annealed half way: shares (1/2 + 3/4) / 2 = 5/8 and 3/8, those without consensus are never drawn
    first = {"natural": 7 / 14, "balanced": 1 / 2 * 2 / 3, "annealed": 5 / 8 * 2 / 3}[sampler]
    result = optimisation.training_prior(counts, phase, LossSettings(), 1, soft)
    np.testing.assert_allclose(result, [first, 1 - first], rtol=1e-12)


def test_certain_soft_labels_leave_the_prior_as_it_is():
    counts = np.array([60, 30, 10])
    soft = np.vstack([np.diag(counts), np.zeros(3)])
    for sampler in ("natural", "balanced", "annealed"):
        for weights in ("none", "balanced"):
            given = PhaseSettings(sampler=sampler), LossSettings(class_weights=weights), 4
            np.testing.assert_allclose(
                optimisation.training_prior(counts, *given, soft),
                optimisation.training_prior(counts, *given),
                rtol=1e-12,
            )


def test_an_expert_learns_the_annotators_shares(tones, tmp_path):
    corpus = voted(tones.corpus)
    phases = {"only": {"epochs": 40, "lr_scheduler_type": "linear"}}
    stopping = {"metric": "loss", "patience": None}
    changes = corpora.merged({**LONG, **SCORED, **SOFT}, {"phases": phases, "early_stopping": stopping})
    result, _ = run(tones, tmp_path, corpora.settings(tones.llama, "text", **changes), corpus)
    assert result.labels == ("anger", "happiness", "sadness", "O")
    expected = np.array([TARGETS[label] for label in tones.corpus.frame["emotion"]])
    np.testing.assert_allclose(result.posterior, expected, atol=0.05)
    np.testing.assert_allclose(result.training_prior, expected[corpus.mask("train")].mean(axis=0), atol=1e-7)


def test_who_remains_of_the_annotators_is_drawn_as_the_subsets_are(tones):
    # three annotators, two for the first label; each subset has .5 ** 3, the empty one becomes any one of the three
    drawn = np.random.default_rng(1)
    left = [tuple(votes.some_annotators(np.array([2.0, 1.0]), 0.5, drawn)) for _ in range(8000)]
    expected = dict.fromkeys([(1, 0), (0, 1), (2, 0), (1, 1), (2, 1)], 0.0)
    annotators = (0, 0, 1)
    for subset in product((False, True), repeat=3):
        chosen = [label for label, stays in zip(annotators, subset) if stays]
        for alone in [chosen] if chosen else [[label] for label in annotators]:
            expected[alone.count(0), alone.count(1)] += 0.5**3 / (1 if chosen else 3)
    for counts, share in expected.items():
        assert left.count(counts) / 8000 == pytest.approx(share, abs=0.015)
    mean = np.mean([np.array(counts) / sum(counts) for counts in left], axis=0)
    np.testing.assert_allclose(mean, [2 / 3, 1 / 3], atol=0.01)  # the prior is that of all annotators
    assert not votes.some_annotators(np.zeros(2), 0.5, drawn).any()


def test_each_chunk_of_an_epoch_has_annotators_of_its_own_and_keeps_them(tones):
    corpus = voted(tones.corpus)
    options = settings(tones, targets={"annotator_dropout": 0.4})
    given = BatchTargets(targets_of(corpus, options), options.targets.annotator_dropout)
    row = int(np.flatnonzero(corpus.frame["emotion"] == "anger")[0])
    batch = Batch(np.full(200, row), np.zeros(200), np.zeros(200), np.arange(200))
    soft = given(batch)["emotion"]
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    seen = {tuple(np.round(each.astype(np.float64), 4).tolist()) for each in soft}
    assert seen == {(1, 0, 0, 0), (0, 0, 1, 0), (0.75, 0, 0.25, 0), (0.6667, 0, 0.3333, 0), (0.5, 0, 0.5, 0)}
    np.testing.assert_array_equal(given(batch.of_process(1, 2))["emotion"], soft[1::2])
    with pytest.raises(InputError, match="targets.annotator_dropout is 0.4 and targets.soft_labels false"):
        settings(tones, targets={"annotator_dropout": 0.4, "soft_labels": False})
