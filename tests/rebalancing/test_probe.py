"""The layer curve on vectors whose evidence is known."""

import csv
import json
import time

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.params.rebalancing import SourceSettings
from pipeline_lib.rebalancing import probe
from pipeline_lib.rebalancing.source import of_embedding
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.embeddings import Info
from pipeline_lib.tables.manifest import Manifest

LABELS = tuple("abcdefgh")


def make(folder, n=2_000, width=100, layers=5, attributes=True):
    """Write an embedding whose layer i knows label and valence the better the larger i is; layer 0 knows nothing."""
    noise = np.random.default_rng(0)
    emotion = noise.integers(0, 8, n)
    frame = pd.DataFrame({"utterance_id": [f"u{i:05d}" for i in range(n)], "subsets": [[]] * n})
    frame["split"] = np.where(noise.random(n) < 0.7, "train", "dev")
    frame["emotion"] = [None if i % 50 == 0 else "X" if i % 50 == 1 else LABELS[e] for i, e in enumerate(emotion)]
    frame["valence"] = emotion * 0.5 + noise.standard_normal(n) if attributes else np.nan
    frame["arousal"] = frame["dominance"] = np.nan
    frame["speaker"] = None
    centres = noise.standard_normal((8, width))
    vectors = {i: 3 + 0.1 * i * centres[emotion] + 1.0 * noise.standard_normal((n, width)) for i in range(layers)}
    info = Info("x", "x", None, "audio", width, 50.0, tuple(vectors), "mean", False, n)
    with embeddings.writing(folder, info) as writer:
        writer.add(frame["utterance_id"].tolist(), {i: values.astype(np.float16) for i, values in vectors.items()})
    return Manifest(frame, "made", LABELS)


def curve_of(folder, corpus, **values):
    chosen = SourceSettings.parse({"layers": "each"} | values, "source")
    return probe.probe(of_embedding(folder, corpus, chosen, "x"), corpus, chosen, "x")


def test_the_curve_rises_with_the_evidence_and_is_quick(tmp_path):
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: F401 their import is not what is timed

    corpus = make(tmp_path / "x")
    begun = time.process_time()
    curve = curve_of(tmp_path / "x", corpus)
    assert time.process_time() - begun < 10  # about 1 s on an idle machine
    assert list(curve[0]) == ["macro_f1", "ua", "ccc_valence"]
    for name in curve[0]:
        assert all(curve[i][name] < curve[i + 1][name] for i in range(4))
    assert abs(curve[0]["ua"] - 1 / 8) < 0.06 and curve[4]["ua"] > 0.5  # layer 0 at chance


def test_the_scores_are_those_of_scikit_learns_own_pipeline(tmp_path):
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import balanced_accuracy_score, f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    corpus = make(tmp_path / "x", n=400, width=10, layers=4)
    curve = curve_of(tmp_path / "x", corpus, ridge=5.0, probe={"penalty": 2.0})
    _, x = embeddings.read_layer(tmp_path / "x", 3)
    truth, train, dev = corpus.truth(), corpus.mask("train"), corpus.mask("dev")
    known = truth >= 0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=200, tol=1e-3))
    prediction = model.fit(x[train & known].astype(float), truth[train & known]).predict(x[dev & known].astype(float))
    assert curve[3]["macro_f1"] == pytest.approx(f1_score(truth[dev & known], prediction, average="macro"), abs=0.01)
    assert curve[3]["ua"] == pytest.approx(balanced_accuracy_score(truth[dev & known], prediction), abs=0.01)
    y = corpus.attributes(["valence"])[:, 0]
    prediction = make_pipeline(StandardScaler(), Ridge(alpha=5.0)).fit(x[train].astype(float), y[train]).predict(x[dev])
    mean, other = y[dev].mean(), prediction.mean()
    ccc = 2 * ((y[dev] - mean) * (prediction - other)).mean() / (y[dev].var() + prediction.var() + (mean - other) ** 2)
    assert curve[3]["ccc_valence"] == pytest.approx(ccc, abs=1e-4)


def test_a_constant_feature_does_no_harm(tmp_path):
    corpus = make(tmp_path / "x", n=200, width=4, layers=1)
    ids = corpus.ids.tolist()
    with embeddings.writing(tmp_path / "x", embeddings.read_info(tmp_path / "x")) as writer:
        writer.add(ids, {0: np.full((200, 4), 7, np.float16)})
    assert np.isfinite(list(curve_of(tmp_path / "x", corpus)[0].values())).all()


def test_without_anything_to_probe_the_curve_is_empty_which_is_printed(tmp_path, capsys):
    corpus = make(tmp_path / "x", n=50, width=2, layers=1, attributes=False)
    corpus.frame["emotion"] = "X"
    assert curve_of(tmp_path / "x", corpus) == {}
    message = "rebalancing.x: no layer curve, since train and dev have no label and no attribute in common"
    assert message in capsys.readouterr().out


def test_the_plot_has_a_column_a_metric_and_the_best_layer_is_the_first_of_equals(tmp_path):
    curve = {i: {"macro_f1": score, "ua": 0.5} for i, score in enumerate([0.2, 0.4, 0.3])}
    probe.write(curve, {}, tmp_path / "p" / "x.csv", tmp_path / "m" / "x.json", "noise")
    rows = list(csv.reader((tmp_path / "p" / "x.csv").open()))
    assert rows == [
        ["layer", "macro_f1", "ua"],
        ["0", "0.200000", "0.500000"],
        ["1", "0.400000", "0.500000"],
        ["2", "0.300000", "0.500000"],
    ]
    summary = json.loads((tmp_path / "m" / "x.json").read_text())
    assert summary == {
        "best_on_dev": {"macro_f1": {"layer": 1, "score": 0.4}, "ua": {"layer": 0, "score": 0.5}},
        "notice": "noise",
    }
