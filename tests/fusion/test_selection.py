"""Greedy selection against the same written by hand, on every utterance and expert anew."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from pipeline_lib.fusion.selection import Selection
from tests.fusion.drawn import drawn


def plain_mean(posteriors, chosen):
    """Return the mean of the chosen experts an utterance has; of all that it has where it has none of them."""
    rows = []
    for i in range(posteriors.shape[1]):
        have = [posteriors[e, i] for e in chosen if not np.isnan(posteriors[e, i]).any()]
        have = have or [each for each in posteriors[:, i] if not np.isnan(each).any()]
        rows.append(np.mean(have, axis=0))
    return np.array(rows)


def judged(posteriors, truth, chosen, objective):
    mean = plain_mean(posteriors, chosen)
    likelihood = np.log(np.maximum(mean[np.arange(len(truth)), truth], np.finfo(float).eps)).mean()
    options = {"labels": range(mean.shape[1]), "average": "macro", "zero_division": 0}
    score = {
        "macro_f1": lambda: f1_score(truth, mean.argmax(axis=1), **options),
        "unweighted_accuracy": lambda: recall_score(truth, mean.argmax(axis=1), **options),
        "log_likelihood": lambda: likelihood,
    }[objective]()
    return round(score, 12), round(likelihood, 12)


def selected(posteriors, truth, rounds, initial, objective, members):
    """Return how often each expert is selected, by a loop that scores every candidate from its definition."""
    singles = {e: judged(posteriors, truth, [e], objective) for e in members}
    chosen = sorted(members, key=lambda e: (-singles[e][0], -singles[e][1], e))[:initial]
    best = (judged(posteriors, truth, chosen, objective), list(chosen)) if chosen else None
    for _ in range(rounds):
        scores = {e: judged(posteriors, truth, [*chosen, e], objective) for e in members}
        winner = max(members, key=lambda e: (scores[e], -e))
        chosen = [*chosen, winner]
        if best is None or scores[winner] > best[0]:
            best = (scores[winner], list(chosen))
    return np.bincount(best[1], minlength=len(posteriors)) / len(best[1])


@pytest.mark.parametrize("objective", ["macro_f1", "unweighted_accuracy", "log_likelihood"])
@pytest.mark.parametrize("initial", [0, 2])
@pytest.mark.parametrize("absent", [0.0, 0.3])
def test_one_bag_is_the_greedy_loop(objective, initial, absent):
    posteriors, truth = drawn(n=30, n_experts=4, seed=3)
    posteriors[np.random.default_rng(1).random(posteriors.shape[:2]) < absent] = np.nan
    posteriors[0] = drawn(n=30, n_experts=4, seed=3)[0][0]  # someone is always there
    fuser = Selection(rounds=5, initial=initial, bags=1, bag_share=1.0, objective=objective).fit(posteriors, truth)
    np.testing.assert_allclose(fuser.weights_, selected(posteriors, truth, 5, initial, objective, range(4)), atol=1e-12)


def test_bags_choose_from_shares_of_the_experts_and_are_averaged():
    posteriors, truth = drawn(n=40, n_experts=5, seed=4)
    fuser = Selection(rounds=4, initial=1, bags=3, bag_share=0.5, seed=7).fit(posteriors, truth)
    weights = []
    for bag in range(3):
        members = np.random.default_rng([7, bag]).choice(5, 3, replace=False)
        weights.append(selected(posteriors, truth, 4, 1, "macro_f1", sorted(members.tolist())))
    np.testing.assert_allclose(fuser.weights_, np.mean(weights, axis=0), atol=1e-12)
    assert fuser.tried_.shape == (3 * 5 + 1, 5) and fuser.criteria_.shape == (16, 2)
    np.testing.assert_allclose(fuser.tried_.sum(axis=1), 1)
    mean = np.tensordot(fuser.weights_, posteriors, axes=1)
    assert fuser.score_ == pytest.approx(f1_score(truth, mean.argmax(axis=1), average="macro"), abs=1e-12)


def test_it_does_not_fall_for_useless_experts_and_beats_equal_weights_on_unseen_utterances():
    good, truth = drawn(n=900, n_experts=3, seed=5)
    noise = np.random.default_rng(6).dirichlet(np.full(4, 0.3), (25, 900))
    posteriors = np.concatenate([noise, good])
    fuser = Selection().fit(posteriors[:, :300], truth[:300])
    unseen, known = posteriors[:, 300:], truth[300:]
    fused = (fuser.predict_proba(unseen).argmax(axis=1) == known).mean()
    equal = (unseen.mean(axis=0).argmax(axis=1) == known).mean()
    assert fuser.weights_[25:].sum() > 4 * 3 / 28
    assert fused > equal + 0.3 and fused > (unseen.argmax(axis=2) == known).mean(axis=1).max()


def test_a_bag_has_at_least_two_experts():
    posteriors, truth = drawn(n=60, n_experts=2, seed=8)
    few = Selection(bags=3, bag_share=0.5, rounds=4).fit(posteriors, truth)
    whole = Selection(bags=1, bag_share=1.0, rounds=4).fit(posteriors, truth)
    np.testing.assert_allclose(few.weights_, whole.weights_, rtol=1e-12)
