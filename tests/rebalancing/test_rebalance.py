"""The stage: methods, priors and pseudo-labels."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline_lib.errors import InputError
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.rebalance import rebalance
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from tests.rebalancing.made import LABELS, corpus, expert, settings


def test_uniform_prior_by_hand_in_the_manifests_order_without_o_and_x():
    of = corpus(n=4)
    posterior = np.tile([0.2, 0.3, 0.1, 0.3, 0.1], (4, 1))  # sadness, anger, neutral, O, X
    result = rebalance(expert(of, posterior=posterior), of, settings())
    # anger 0.3 / 0.15 = 2, neutral 0.1 / 0.5 = 0.2, sadness 0.2 / 0.2 = 1
    np.testing.assert_allclose(result.posterior, np.tile(np.array([2, 0.2, 1]) / 3.2, (4, 1)))
    assert result.labels == LABELS
    np.testing.assert_allclose(result.training_prior, np.full(3, 1 / 3))


def test_without_a_prior_o_and_x_go_and_the_training_prior_stays():
    of = corpus(n=4)
    posterior = np.tile([0.2, 0.3, 0.1, 0.3, 0.1], (4, 1))
    result = rebalance(expert(of, posterior=posterior), of, settings(prior="none"))
    np.testing.assert_allclose(result.posterior, np.tile([0.5, 1 / 6, 1 / 3], (4, 1)))
    np.testing.assert_allclose(result.training_prior, np.array([0.15, 0.5, 0.2]) / 0.85)
    without_prior = rebalance(expert(of, posterior=posterior, training_prior=None), of, settings(prior="none"))
    np.testing.assert_array_equal(without_prior.posterior, result.posterior)
    assert without_prior.training_prior is None


def test_text_posteriors_with_o_and_x_follow_the_papers_formula():
    # Härm and Alumäe, section 3.2, over all five outputs with P_u zero on O and X, written again row by row
    of = corpus(n=200)
    predicted = expert(of, labels=("X", "sadness", "O", "anger", "neutral"), embedding=None)
    training_prior = predicted.training_prior
    result = rebalance(predicted, of, settings(prior="uniform"))
    uniform = {"anger": 1 / 3, "neutral": 1 / 3, "sadness": 1 / 3, "O": 0.0, "X": 0.0}
    for row, new in zip(predicted.posterior, result.posterior, strict=True):
        terms = {label: row[i] * uniform[label] / training_prior[i] for i, label in enumerate(predicted.labels)}
        np.testing.assert_allclose(new, [terms[label] / sum(terms.values()) for label in LABELS], rtol=1e-12)


def test_after_lda_and_logistic_regression_the_uniform_prior_is_a_shift_of_the_biases():
    of = corpus(n=300)
    predicted = expert(of)
    result = rebalance(predicted, of, settings(method="lda_logistic"))
    truth, embedding = of.truth(), predicted.embedding
    fitting = of.mask("train") & (truth >= 0)
    back_end = BackEnd(settings().lda_logistic).fit(embedding[fitting], truth[fitting])
    features = back_end.lda_.transform(back_end.normalisation_.transform(embedding))
    model, frequencies = back_end.classifier_, np.bincount(truth[fitting]) / fitting.sum()
    for constant in (0.0, -3.0):
        scores = features @ model.coef_.T + model.intercept_ - np.log(frequencies) + constant
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(result.posterior, odds / odds.sum(axis=1, keepdims=True), rtol=0, atol=1e-12)


def test_given_shares_are_divided_by_their_sum():
    of = corpus(n=4)
    predicted = expert(of, posterior=np.tile([0.2, 0.15, 0.5, 0.1, 0.05], (4, 1)))  # the evidence is the prior
    result = rebalance(predicted, of, settings(prior="given", given={"neutral": 6.0, "anger": 3.0, "sadness": 1.0}))
    np.testing.assert_allclose(result.posterior, np.tile([0.3, 0.6, 0.1], (4, 1)))
    np.testing.assert_allclose(result.training_prior, [0.3, 0.6, 0.1])


def test_the_developments_prior_is_counted_without_o_and_x_and_recorded_as_fitted_there():
    of = corpus()
    result = rebalance(expert(of, provenance=Provenance(("elsewhere",), ("dev",))), of, settings(prior="development"))
    emotions = of.frame["emotion"][of.frame["split"] == "dev"]
    counts = np.array([(emotions == label).sum() for label in LABELS])
    np.testing.assert_allclose(result.training_prior, counts / counts.sum())
    assert result.provenance == Provenance(("dev", "elsewhere"), ("dev",))


def test_em_estimates_the_prior_of_the_split_without_its_labels():
    of = corpus(n=400)
    predicted = expert(of)
    result = rebalance(predicted, of, settings(prior="em", em={"on": "test"}))
    np.testing.assert_allclose(result.posterior[of.mask("test")].mean(axis=0), result.training_prior, atol=1e-6)
    hidden = Manifest(of.frame.assign(emotion=None), of.corpus, of.labels)
    np.testing.assert_array_equal(rebalance(predicted, hidden, settings(prior="em")).posterior, result.posterior)
    assert result.fitted_on == ()


def test_em_that_leaves_nothing_to_a_label_warns_and_smoothing_prevents_it(capsys):
    of = corpus()
    predicted = expert(of, posterior=np.tile([0.2, 0.3, 0.3, 0.1, 0.1], (len(of), 1)))
    result = rebalance(predicted, of, settings(prior="em", em={"on": "test"}))
    printed = capsys.readouterr().out
    lost = [label for label, share in zip(LABELS, result.training_prior) if share < 0.05 / 3]
    assert lost and f"almost no share is left to {lost}" in printed
    held = rebalance(predicted, of, settings(prior="em", em={"on": "test", "smoothing": 1.0}))
    assert held.training_prior.min() >= 1 / 6
    assert "almost no share" not in capsys.readouterr().out


def test_em_that_runs_out_of_iterations_warns(capsys):
    of = corpus()
    rebalance(expert(of), of, settings(prior="em", em={"on": "dev", "iterations": 1}))
    assert "rebalancing.audio.em: after 1 iterations a share still moves by" in capsys.readouterr().out


def test_lda_and_logistic_regression_are_scikit_learns_pipeline():
    of = corpus(n=300)
    predicted = expert(of)
    result = rebalance(predicted, of, settings(method="lda_logistic", prior="none"))
    truth, embedding = of.truth(), predicted.embedding.astype(np.float64)
    fitting = of.mask("train") & (truth >= 0)
    lda = LinearDiscriminantAnalysis(n_components=2)
    chain = make_pipeline(StandardScaler(), lda, LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000))
    expected = chain.fit(embedding[fitting], truth[fitting]).predict_proba(embedding)
    np.testing.assert_allclose(result.posterior, expected, atol=1e-7)
    np.testing.assert_allclose(result.training_prior, np.bincount(truth[fitting]) / fitting.sum())


@pytest.mark.parametrize("method", ["lda_logistic", "plda"])
def test_a_back_end_reads_neither_posterior_nor_labels_of_other_splits(method):
    of = corpus(n=300)
    result = rebalance(expert(of), of, settings(method=method))
    masked = of.frame.assign(emotion=of.frame["emotion"].where(of.frame["split"] == "train", "anger"))
    other = expert(of, posterior=np.full((300, 5), 0.2))
    again = rebalance(other, Manifest(masked, of.corpus, of.labels), settings(method=method))
    np.testing.assert_array_equal(result.posterior, again.posterior)


@pytest.mark.parametrize("method", ["lda_logistic", "plda"])
def test_a_back_end_under_a_uniform_prior_predicts_the_labels_of_unseen_utterances(method):
    of = corpus(n=400)
    result = rebalance(expert(of), of, settings(method=method))
    truth, unseen = of.truth(), ~of.mask("train")
    scored = unseen & (truth >= 0)
    assert (result.posterior[scored].argmax(axis=1) == truth[scored]).mean() > 0.7


def test_pldas_posterior_is_under_a_uniform_prior_already():
    of = corpus(n=300)
    plain = rebalance(expert(of), of, settings(method="plda", prior="none"))
    uniform = rebalance(expert(of), of, settings(method="plda", prior="uniform"))
    np.testing.assert_allclose(plain.posterior, uniform.posterior, atol=1e-15)
    given = rebalance(
        expert(of), of, settings(method="plda", prior="given", given={"anger": 0.5, "neutral": 0.25, "sadness": 0.25})
    )
    weighted = plain.posterior * [0.5, 0.25, 0.25]
    np.testing.assert_allclose(given.posterior, weighted / weighted.sum(axis=1, keepdims=True))


def test_plda_without_lda_and_with_em_runs_on_the_normalised_embedding():
    of = corpus(n=200)
    plda = {"components": None, "shrinkage": "ledoit_wolf", "estimation": "em", "normalisation": "length"}
    result = rebalance(expert(of), of, settings(method="plda", plda=plda))
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)


def test_attributes_pass_through_and_embeddings_do_not():
    of = corpus(n=8)
    values = np.random.default_rng(0).uniform(1, 7, (8, 2))
    result = rebalance(expert(of, attribute_names=("arousal", "valence"), attributes=values), of, settings())
    np.testing.assert_array_equal(result.attributes, values)
    assert result.attribute_names == ("arousal", "valence") and result.embedding is None


def test_an_expert_of_attributes_only_passes_through_whatever_the_prior():
    of = corpus(n=8)
    values = np.random.default_rng(0).uniform(1, 7, (8, 1))
    predicted = Predictions(of.ids, "audio", attribute_names=("valence",), attributes=values)
    result = rebalance(predicted, of, settings())
    assert result.posterior is None
    np.testing.assert_array_equal(result.attributes, values)
    with pytest.raises(InputError, match="method is 'plda', but the expert predicts attributes only; expected 'none'"):
        rebalance(predicted, of, settings(method="plda"))


def test_an_expert_that_lacks_utterances_is_rebalanced_on_those_it_has():
    of = corpus(n=40)
    whole = expert(of)
    few = expert(of, utterance_ids=whole.utterance_ids[::2], posterior=whole.posterior[::2], embedding=None)
    np.testing.assert_array_equal(
        rebalance(few, of, settings()).posterior, rebalance(whole, of, settings()).posterior[::2]
    )
