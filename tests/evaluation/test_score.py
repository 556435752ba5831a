"""Scores over the labels in common, against scikit-learn and a hand-worked case."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from pipeline_lib.evaluation.labels import common
from pipeline_lib.evaluation.score import over_common, scores
from pipeline_lib.params.scoring import IntervalSettings
from tests.scoring.corpora import drawn_manifest, drawn_predictions

OURS = ("joy", "anger", "neutral", "calm")
NAMES = {"sadness": "joy"}
FEW = IntervalSettings()


def shared_of(manifest):
    return common(manifest.frame["emotion"].tolist(), OURS, NAMES, {})


def test_both_ways_equal_scikit_learn():
    corpus = drawn_manifest(seed=3, utterances=30)
    table = drawn_predictions(corpus, "audio", 5, skill=0.0, labels=OURS)
    shared = shared_of(corpus)
    assert shared.labels == ("joy", "anger", "neutral")
    result = scores(over_common(corpus, shared), {"audio": table}, shared, FEW)["systems"]["audio"]
    labelled = (corpus.frame["emotion"] != "X").to_numpy()
    truth = np.array([NAMES.get(name, name) for name in corpus.frame["emotion"][labelled]])
    every = np.array(OURS)[table.posterior[labelled].argmax(axis=1)]
    three = np.array(OURS[:3])[table.posterior[labelled][:, :3].argmax(axis=1)]
    for way, prediction in (("restricted", three), ("all_labels", every)):
        options = {"labels": list(OURS[:3]), "average": "macro", "zero_division": 0}
        assert result[way]["ua"] == pytest.approx(recall_score(truth, prediction, **options), abs=1e-12)
        assert result[way]["macro_f1"] == pytest.approx(f1_score(truth, prediction, **options), abs=1e-12)
        assert result[way]["wa"] == pytest.approx(accuracy_score(truth, prediction), abs=1e-12)
        assert result[way]["ua_lo"] < result[way]["ua"] < result[way]["ua_hi"]
    assert result["others_chosen"] == pytest.approx((every == "calm").mean())
    assert result["n"] == labelled.sum() and result["n_speakers"] == 10
    recalls = recall_score(truth, three, labels=list(OURS[:3]), average=None)
    assert [values["recall"] for values in result["labels"].values()] == pytest.approx(recalls.tolist())
    assert np.sum(result["confusion"]) == labelled.sum()


def test_utterances_that_a_system_does_not_predict_are_counted():
    corpus = drawn_manifest(seed=3, utterances=30)
    rows = np.arange(len(corpus)) % 2 == 0
    table = drawn_predictions(corpus, "audio", 5, labels=OURS, rows=rows)
    shared = shared_of(corpus)
    result = scores(over_common(corpus, shared), {"audio": table}, shared, FEW)
    labelled = (corpus.frame["emotion"] != "X").to_numpy()
    audio = result["systems"]["audio"]
    assert (audio["n"], audio["n_missing"]) == ((labelled & rows).sum(), (labelled & ~rows).sum())
    assert result["chance"]["uniform"]["ua"] == pytest.approx(1 / 3) and result["chance"]["ceiling"] == 1.0


def test_a_label_that_the_split_lacks_lowers_the_ceiling():
    corpus = drawn_manifest(seed=3, utterances=30)
    shared = shared_of(corpus)
    over = over_common(corpus, shared)
    over.frame.loc[over.frame["emotion"] == "joy", "emotion"] = None
    assert scores(over, {}, shared, FEW)["chance"]["ceiling"] == pytest.approx(2 / 3)
