"""A back end without LDA on stored functionals is the usual baseline: logistic regression on standardised features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.egemaps_baseline import fitted
from pipeline_lib.rebalancing.model import apply
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import read
from pipeline_lib.tables import embeddings
from tests.rebalancing.made import LABELS, corpus, settings

PENALTY = 10.0  # C 0.1
SCALES = np.array([1e-3, 1.0, 300.0, 2e5])  # of jitter, loudness, formants, and beyond float16
INFO = embeddings.Info("eGeMAPSv02", "functionals", None, "audio", 4, None, (0,), "mean", False, 240, dtype="float32")


def balanced(of):
    """Return the corpus with labels in turn, as many of each in train."""
    return type(of)(of.frame.assign(emotion=[LABELS[row // 4 % 3] for row in range(len(of))]), of.corpus, of.labels)


@pytest.fixture(params=["balanced", "unbalanced"])
def made(request, tmp_path):
    """A corpus, functionals of very different scales, and what rebalancing makes of them under a uniform prior."""
    of = corpus(240)
    of = balanced(of) if request.param == "balanced" else of
    noise = np.random.default_rng(3).normal(size=(240, 4))
    values = ((noise + np.eye(5, 4)[of.truth((*LABELS, "O", "X"))]) * SCALES + 5 * SCALES).astype(np.float32)
    with embeddings.writing(tmp_path / "data/embeddings/egemaps", INFO) as writer:
        writer.add(of.ids.tolist(), {0: values})
    lda_logistic = {"normalisation": "standardise", "components": None, "penalty": PENALTY}
    chosen = settings(
        reads={"source": "data/embeddings/egemaps"},
        source={"layers": [0]},
        method="lda_logistic",
        lda_logistic=lda_logistic,
        prior="uniform",
    )
    return of, values.astype(np.float64), chosen, request.param


def test_it_is_logistic_regression_on_standardised_functionals_with_the_training_prior_divided_out(
    made, tmp_path, monkeypatch
):
    of, values, chosen, kind = made
    monkeypatch.chdir(tmp_path)
    source = read(chosen, of, "egemaps")
    posterior = apply(fit(source, of, chosen, "egemaps"), source).posterior
    train = of.mask("train") & (of.truth() >= 0)
    scaler = StandardScaler().fit(values[train])
    x = scaler.transform(values)
    plain = LogisticRegression(C=1 / PENALTY, tol=1e-10, max_iter=5000).fit(x[train], of.truth()[train])
    expected = plain.predict_proba(x) / (np.bincount(of.truth()[train]) / train.sum())
    np.testing.assert_allclose(posterior, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    weighted = fitted(x[train], of.truth()[train], 1 / PENALTY)
    if kind == "balanced":  # weights of 1 and a uniform training prior: the benchmark's model itself
        np.testing.assert_allclose(posterior, weighted.predict_proba(x), rtol=1e-3)
    else:  # another weighting of the same likelihoods: nearly always the same label
        same = posterior.argmax(axis=1) == weighted.predict(x)
        assert 0.9 < same.mean() < 1
