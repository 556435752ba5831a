"""A stored embedding as a system: its layers, what is averaged, the best layer, attributes and utterances left out."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline_lib.errors import InputError
from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import read
from pipeline_lib.tables import predictions
from tests.rebalancing.made import LABELS, corpus, embed, settings


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a corpus, the vectors of its embedding, and a function from an entry's source to model and table."""
    monkeypatch.chdir(tmp_path)
    of = corpus(n=240)
    vectors = embed(tmp_path / "data/embeddings/audio", of)

    def start(of=of, method="lda_logistic", prior="none", refit=False, **source):
        entry = settings(
            reads={"source": "data/embeddings/audio"}, source=source, method=method, prior=prior, refit=refit
        )
        opened = read(entry, of, "mine")
        fitted = fit(opened, of, entry, "mine")
        return fitted, model.apply(fitted, opened)

    return of, vectors, start


def by_scikit_learn(of, vectors, splits=("train",)):
    """Return the posterior of standardised features, LDA and logistic regression, fitted on these splits."""
    truth = of.truth()
    fitting = np.any([of.mask(split) for split in splits], axis=0) & (truth >= 0)
    lda, logistic = LinearDiscriminantAnalysis(n_components=2), LogisticRegression(tol=1e-10, max_iter=10_000)
    return make_pipeline(StandardScaler(), lda, logistic).fit(vectors[fitting], truth[fitting]).predict_proba(vectors)


@pytest.mark.parametrize("layers", [[3], [0, 3], "each"])
def test_averaged_vectors_have_one_back_end_on_their_mean(made, layers):
    of, vectors, start = made
    numbers = (0, 2, 3) if layers == "each" else layers
    fitted, table = start(layers=layers, average="vectors")
    expected = by_scikit_learn(of, np.mean([vectors[layer] for layer in numbers], axis=0))
    np.testing.assert_allclose(table.posterior, expected, atol=1e-7)
    assert [*fitted.back_ends] == [tuple(numbers)]
    assert (table.expert, table.labels, table.fitted_on, table.embedding) == ("mine", LABELS, ("train",), None)
    np.testing.assert_array_equal(table.utterance_ids, of.ids)


@pytest.mark.parametrize("layers", [[0, 3], "each"])
def test_averaged_posteriors_are_the_mean_of_one_back_end_a_layer(made, layers):
    of, vectors, start = made
    numbers = (0, 2, 3) if layers == "each" else layers
    _, table = start(layers=layers, average="posteriors")
    expected = np.mean([by_scikit_learn(of, vectors[layer]) for layer in numbers], axis=0)
    np.testing.assert_allclose(table.posterior, expected, atol=1e-7)
    _, uniform = start(layers=layers, average="posteriors", prior="uniform")
    weighted = expected / np.bincount(of.truth()[of.mask("train") & (of.truth() >= 0)])
    np.testing.assert_allclose(uniform.posterior, weighted / weighted.sum(axis=1, keepdims=True), atol=1e-7)


@pytest.mark.parametrize("layers", ["best_on_dev", "each", [2]])
def test_with_refit_the_layer_is_chosen_as_without_and_the_back_end_is_fitted_on_dev_too(made, layers):
    of, vectors, start = made
    once, _ = start(layers=layers, average="posteriors")
    again, table = start(layers=layers, average="posteriors", refit=True)
    assert [*again.back_ends] == [*once.back_ends] and again.on_dev == once.on_dev
    chosen = [layer for (layer,) in once.back_ends]
    expected = np.mean([by_scikit_learn(of, vectors[layer], ("train", "dev")) for layer in chosen], axis=0)
    np.testing.assert_allclose(table.posterior, expected, atol=1e-7)
    assert table.fitted_on == ("dev", "train") and table.chosen_on == (("dev",) if layers == "best_on_dev" else ())


def test_the_best_layer_on_dev_is_chosen_by_macro_f1_printed_kept_and_recorded(made, capsys):
    of, vectors, start = made
    fitted, table = start(layers="best_on_dev")
    truth, dev = of.truth(), of.mask("dev") & (of.truth() >= 0)
    posteriors = {layer: by_scikit_learn(of, each) for layer, each in vectors.items()}
    scores = {n: f1_score(truth[dev], each[dev].argmax(axis=1), average="macro") for n, each in posteriors.items()}
    assert scores[3] == max(scores.values()) and [*fitted.back_ends] == [(3,)]
    assert fitted.on_dev == pytest.approx(scores, abs=1e-12)
    np.testing.assert_allclose(table.posterior, posteriors[3], atol=1e-7)
    assert (table.fitted_on, table.chosen_on) == (("train",), ("dev",))
    line = f"rebalancing.mine.source.layers: 3 has the best macro-F1 on dev of the layers {{0: {scores[0]:.6f}, 2: "
    assert line in capsys.readouterr().out


def test_of_equal_layers_the_first_is_chosen(made, tmp_path):
    of, vectors, start = made
    embed(tmp_path / "data/embeddings/audio", of, layers=(1, 2))
    info_of = {layer: tmp_path / f"data/embeddings/audio/layer_{layer:02d}.parquet" for layer in (1, 2)}
    info_of[1].write_bytes(info_of[2].read_bytes())
    assert [*start(layers="best_on_dev")[0].back_ends] == [(1,)]


def test_labels_beyond_train_reach_no_posterior_but_by_the_chosen_layer(made):
    of, _, start = made
    _, table = start(layers="each", average="posteriors")
    hidden = of.frame.assign(emotion=of.frame["emotion"].where(of.frame["split"] == "train", "anger"))
    _, other = start(of=type(of)(hidden, of.corpus, of.labels), layers="each", average="posteriors")
    np.testing.assert_array_equal(table.posterior, other.posterior)


def test_attributes_are_scikit_learns_ridge_regression_averaged_like_the_vectors_or_posteriors(made):
    of, vectors, start = made
    truth = np.maximum(of.truth(), 0)
    of.frame["valence"] = np.where(np.arange(240) % 5 == 0, np.nan, truth + np.random.default_rng(1).normal(size=240))
    fitting = of.mask("train") & of.frame["valence"].notna().to_numpy()

    def by_ridge(x):
        model_ = make_pipeline(StandardScaler(), Ridge(alpha=3.0))
        return model_.fit(x[fitting], of.frame["valence"][fitting]).predict(x)

    _, table = start(layers=[0, 3], average="vectors", ridge=3.0)
    assert table.attribute_names == ("valence",)
    expected = by_ridge((vectors[0] + vectors[3]) / 2)
    np.testing.assert_allclose(table.attributes[:, 0], expected, rtol=1e-9)
    _, table = start(layers=[0, 3], average="posteriors", ridge=3.0)
    expected = (by_ridge(vectors[0]) + by_ridge(vectors[3])) / 2
    np.testing.assert_allclose(table.attributes[:, 0], expected, rtol=1e-9)


def test_utterances_that_the_embedding_leaves_out_are_absent_and_counted(made, tmp_path, capsys):
    of, _, start = made
    vectors = embed(tmp_path / "data/embeddings/audio", of, left_out=(0, 5, 7))
    _, table = start(layers=[3])
    assert "rebalancing.mine: 3 of 240 utterances have no vector in data/embeddings/audio" in capsys.readouterr().out
    kept = np.array([row not in (0, 5, 7) for row in range(240)])
    np.testing.assert_array_equal(table.utterance_ids, of.ids[kept])
    few = type(of)(of.frame[kept].reset_index(drop=True), of.corpus, of.labels)
    np.testing.assert_allclose(table.posterior, by_scikit_learn(few, vectors[3]), atol=1e-7)


@pytest.mark.parametrize("method", ["lda_logistic", "plda"])
@pytest.mark.parametrize(
    "source", [{"layers": "best_on_dev"}, {"layers": "each", "average": "posteriors", "normalise": "speaker"}]
)
def test_the_model_read_again_gives_the_same_bytes(made, tmp_path, method, source):
    of, _, start = made
    of.frame["speaker"] = [f"s{row % 7}" for row in range(240)]
    of.frame["arousal"] = np.random.default_rng(0).uniform(1, 7, 240)
    fitted, table = start(method=method, prior="uniform", **source)
    model.write(tmp_path / "m", fitted)
    again = model.read(tmp_path / "m")
    assert (again.on_dev, again.provenance, again.settings) == (fitted.on_dev, fitted.provenance, fitted.settings)
    predictions.write(tmp_path / "first.parquet", table)
    predictions.write(tmp_path / "again.parquet", model.apply(again, read(again.settings, of, "mine")))
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()


def test_what_an_embedding_cannot_give_is_refused_by_name(made, tmp_path):
    of, _, start = made
    with pytest.raises(InputError, match=r"has no layer 1, it has \[0, 2, 3\]"):
        start(layers=[1, 3])
    with pytest.raises(InputError, match="normalise is 'speaker', but no utterance has a speaker; expected 'none'"):
        start(layers=[3], normalise="speaker")
    other = type(of)(of.frame.assign(utterance_id=[f"v{row:03d}" for row in range(240)]), of.corpus, of.labels)
    with pytest.raises(InputError, match="and the manifest have different utterances"):
        start(of=other, layers=[3])
    without = of.frame.assign(emotion=of.frame["emotion"].where(of.frame["split"] != "dev", "X"))
    with pytest.raises(InputError, match="layers is 'best_on_dev', but no utterance of dev has a label; exp"):
        start(of=type(of)(without, of.corpus, of.labels), layers="best_on_dev")
    lacking = of.frame.assign(emotion=of.frame["emotion"].replace("anger", "X"))
    with pytest.raises(InputError, match=r"train has no utterance labelled \['anger'\] among the embedding's"):
        start(of=type(of)(lacking, of.corpus, of.labels), layers=[3])
