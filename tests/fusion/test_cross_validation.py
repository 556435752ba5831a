"""Fusion with folds is the fusion of each fold's split, to the byte; one expert alone is passed through."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.fusion import model
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.tables import folds, manifest, predictions
from pipeline_lib.tables.provenance import Provenance
from stages import fusion
from tests.folded import deal
from tests.fusion.experts import FEW, LABELS, METHODS, NO_ATTRIBUTES, NO_POSTERIOR, corpus, expert
from tests.rebalancing.test_folds import files_of

N_FOLDS = 3


def lay_down(path, monkeypatch, of, method="plda", tables="data/rebalanced_folds/{}/fold{}.parquet", **values):
    """Write a corpus, two experts' tables of each fold and params.yaml, and go there."""
    path.mkdir(exist_ok=True)
    monkeypatch.chdir(path)
    manifest.write(Path("data/manifest.parquet"), of)
    for fold in range(N_FOLDS):
        for seed, name in enumerate(("audio", "text")):
            predictions.write(Path(tables.format(name, fold)), expert(of, name, 10 * fold + seed))
    settings = {"experts": ["audio", "text"], "folds": True, "method": method, "selection": FEW} | values
    Path("params.yaml").write_text(json.dumps({"fusion": settings}))


@pytest.mark.parametrize("method", METHODS)
def test_folds_equal_the_fusion_of_each_split_to_the_byte(tmp_path, monkeypatch, capsys, method):
    of = deal(corpus(), N_FOLDS)
    lay_down(tmp_path / "folds", monkeypatch, of, method)
    fusion.main()
    assert "fold2: categories: " in capsys.readouterr().out
    joined = predictions.read(Path("data/fused.parquet"))
    assert Path("data/fused_crossfitted.parquet").read_bytes() == Path("data/fused.parquet").read_bytes()
    assert joined.expert == "fused" and joined.fitted_on == ()
    learned = files_of(Path("models/fusion"))
    assert len(learned) == 2 * N_FOLDS
    for fold in range(N_FOLDS):
        view = folds.view(of, fold)
        lay_down(tmp_path / f"split{fold}", monkeypatch, view, method, folds=False)
        for name in ("audio", "text"):
            table = predictions.read(Path(f"data/rebalanced_folds/{name}/fold{fold}.parquet"))
            predictions.write(Path(f"data/rebalanced/{name}.parquet"), table)
        with monkeypatch.context() as named_alike:  # in the record of the labels that were read
            named_alike.setattr(manifest.Manifest, "own_names", lambda _, part, view=view: view.names_in_corpus[part])
            fusion.main()
        of_fold = {path.split("/")[1]: content for path, content in learned.items() if path.startswith(f"fold{fold}/")}
        assert files_of(Path("models/fusion")) == of_fold
        alone, tested = predictions.read(Path("data/fused.parquet")), view.mask("test")
        np.testing.assert_array_equal(joined.posterior[tested], alone.posterior[tested])
        np.testing.assert_array_equal(joined.attributes[tested], alone.attributes[tested])


@pytest.mark.parametrize("method", METHODS)
def test_the_labels_of_a_test_fold_change_nothing_of_its_fusion(tmp_path, monkeypatch, method):
    of = deal(corpus(), N_FOLDS)
    lay_down(tmp_path, monkeypatch, of, method)
    fusion.main()
    first, emotion = files_of(Path("models/fusion")), of.frame["emotion"].to_numpy(dtype=object)
    tested = of.mask("fold0")
    emotion[tested] = np.random.default_rng(0).permutation(emotion[tested])
    manifest.write(Path("data/manifest.parquet"), replace(of, frame=of.frame.assign(emotion=emotion)))
    fusion.main()
    second = files_of(Path("models/fusion"))
    same = {path for path in first if first[path] == second[path]}
    assert {"fold0/fusion.json", "fold0/curve.csv"} <= same
    assert ("fold2/fusion.json" in same) == (method == "vote")  # a vote learns nothing of labels


def test_permuted_labels_are_at_chance_out_of_fold(tmp_path, monkeypatch):
    of = corpus(n=600)
    true = deal(of, N_FOLDS)
    lay_down(tmp_path, monkeypatch, true)
    emotion = np.random.default_rng(0).permutation(of.frame["emotion"].to_numpy(dtype=object))
    permuted = deal(replace(of, frame=of.frame.assign(emotion=emotion)), N_FOLDS)
    scores = {}
    for kind, given in (("true", true), ("permuted", permuted)):
        manifest.write(Path("data/manifest.parquet"), given)
        fusion.main()
        posterior = predictions.read(Path("data/fused.parquet")).posterior
        scores[kind] = unweighted_accuracy(given.truth(), posterior.argmax(axis=1), 3)
    bound = 4 * np.sqrt((0.25 / np.bincount(permuted.truth())).sum()) / 3  # each recall is binomial
    assert scores["true"] > 0.6 and abs(scores["permuted"] - 1 / 3) < bound < 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_folds", [True, False])
def test_one_expert_is_passed_through_without_a_tuning_set(tmp_path, monkeypatch, capsys, method, with_folds):
    of = deal(corpus(), N_FOLDS) if with_folds else corpus()
    given = {"experts": ["audio"], "tuning": "nowhere", "folds": with_folds}
    lay_down(tmp_path, monkeypatch, of, method, **given)
    single = expert(of, "audio", 5, provenance=Provenance(("dev",)))
    predictions.write(Path("data/rebalanced/audio.parquet"), single)
    fusion.main()
    assert "audio is the one expert: passed through unchanged" in capsys.readouterr().out
    fused = predictions.read(Path("data/fused.parquet"))
    tables = [predictions.read(Path(f"data/rebalanced_folds/audio/fold{fold}.parquet")) for fold in range(N_FOLDS)]
    expected = folds.out_of_fold(of, tables) if with_folds else single
    for name in ("posterior", "attributes", "training_prior"):
        np.testing.assert_array_equal(getattr(fused, name), getattr(expected, name))
    assert fused.fitted_on == (() if with_folds else ("dev",)) and fused.expert == "fused"
    loaded = model.read(Path("models/fusion/fold0" if with_folds else "models/fusion"))
    np.testing.assert_array_equal(loaded.fuser.predict_proba(single.posterior[None]), single.posterior)
    np.testing.assert_array_equal(loaded.attribute_fuser.predict(single.attributes[None]), single.attributes)


@pytest.mark.parametrize("without", [NO_ATTRIBUTES, NO_POSTERIOR])
def test_one_expert_of_posteriors_or_attributes_alone_is_passed_through(tmp_path, monkeypatch, without):
    of = corpus()
    lay_down(tmp_path, monkeypatch, of, experts=["audio"], folds=False)
    predictions.write(Path("data/rebalanced/audio.parquet"), expert(of, "audio", 5, **without))
    fusion.main()
    fused = predictions.read(Path("data/fused.parquet"))
    assert (fused.posterior is None) == ("posterior" in without) and (fused.labels == LABELS) != ("labels" in without)
