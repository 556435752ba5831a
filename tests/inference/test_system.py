"""A trained system applied to its own corpus gives its own tables; to others what its members give, averaged."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline_lib.errors import InputError
from pipeline_lib.experts import predict
from pipeline_lib.inference import experts, system
from pipeline_lib.tables import manifest, predictions
from pipeline_lib.tables.manifest import keep
from tests.finetuning.test_folds import with_folds
from tests.inference import made

N_FOLDS = 3


def spoken(corpus):
    """Return the corpus with six speakers, and texts that differ within a label."""
    rows = range(len(corpus))
    texts = [f"{text} {('not', 'so', 'very')[row % 3]}" for row, text in zip(rows, corpus.frame["reference_text"])]
    return replace(corpus, frame=corpus.frame.assign(speaker=[f"s{row % 6}" for row in rows], reference_text=texts))


@pytest.fixture(scope="module")
def plain(tones, tmp_path_factory):
    return made.project(tmp_path_factory.mktemp("plain") / "project", tones, spoken(tones.corpus), folded=False)


@pytest.fixture(scope="module")
def folded(tones, tmp_path_factory):
    corpus = spoken(with_folds(tones.corpus))
    return made.project(tmp_path_factory.mktemp("folded") / "project", tones, corpus, folded=True)


def same(table, expected):
    assert table.utterance_ids.tolist() == expected.utterance_ids.tolist()
    assert (table.expert, table.labels, table.provenance) == (expected.expert, expected.labels, expected.provenance)
    assert table.provenance.is_recorded
    np.testing.assert_allclose(table.posterior, expected.posterior, rtol=0, atol=1e-6)
    if expected.attributes is not None:
        np.testing.assert_allclose(table.attributes, expected.attributes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["plain", "folded"])
def test_on_its_own_corpus_every_table_is_the_pipelines(kind, request, tmp_path, monkeypatch):
    project = request.getfixturevalue(kind)
    monkeypatch.chdir(tmp_path)
    own = manifest.read(project / "data/manifest.parquet")
    tables = system.apply(project, own, Path("out"))
    assert [*tables] == ["softmax", *made.SYSTEMS, "fused"]  # fitted on nothing here: no cross-fitted row
    for path in tables.values():
        same(predictions.read(path), predictions.read(project / "data" / path.relative_to("out")))
    assert (tmp_path / "out/transcripts.parquet").exists() is False  # no system reads them


def test_a_second_run_predicts_nothing_again_and_one_with_other_weights_does(plain, tmp_path, monkeypatch):
    own = manifest.read(plain / "data/manifest.parquet")
    first = {name: path.read_bytes() for name, path in system.apply(plain, own, tmp_path / "out").items()}
    monkeypatch.setattr(experts, "predict", lambda *_, **__: pytest.fail("predicted again"))
    again = system.apply(plain, own, tmp_path / "out")
    assert {name: path.read_bytes() for name, path in again.items()} == first
    (tmp_path / "out/predictions/tones.parquet").write_bytes(b"damaged")
    with pytest.raises(pytest.fail.Exception, match="predicted again"):
        system.apply(plain, own, tmp_path / "out")
    assert not list((plain / "work/inference").rglob("*.arrow"))


def test_an_utterance_of_no_fold_has_the_mean_of_the_members(folded, tmp_path):
    own = manifest.read(folded / "data/manifest.parquet")
    empty = pd.Series([[] for _ in range(len(own))], dtype=object)
    other = replace(own, corpus="other", frame=own.frame.assign(split="test", subsets=empty), labels=("x", "y"))
    tables = system.apply(folded, other, tmp_path / "out")
    by_fold = [predictions.read(folded / f"data/predictions_folds/tones/fold{fold}.parquet") for fold in range(N_FOLDS)]
    softmax = predictions.read(tables["softmax"])
    np.testing.assert_allclose(softmax.posterior, np.mean([t.posterior for t in by_fold], axis=0), rtol=0, atol=1e-6)
    for name in made.SYSTEMS:
        by_fold = [predictions.read(folded / f"data/rebalanced_folds/{name}/fold{k}.parquet") for k in range(N_FOLDS)]
        expected = np.mean([table.posterior for table in by_fold], axis=0)
        np.testing.assert_allclose(predictions.read(tables[name]).posterior, expected, rtol=0, atol=1e-6)
    outside = ~np.isin(own.ids, own.ids[(own.frame["split"] == "folds").to_numpy()])
    pipeline = predictions.read(folded / "data/fused.parquet")
    fused = predictions.read(tables["fused"]).posterior
    np.testing.assert_allclose(fused[outside], pipeline.posterior[outside], rtol=0, atol=1e-6)
    assert np.abs(fused[~outside] - pipeline.posterior[~outside]).max() > 1e-3  # members that were trained on them


def test_some_utterances_of_the_folds_are_predicted_out_of_fold(folded, tmp_path):
    own = manifest.read(folded / "data/manifest.parquet")
    some = own.mask("fold1") & (np.arange(len(own)) % 2 == 0)
    table = predictions.read(system.apply(folded, keep(own, some), tmp_path / "out")["softmax"])
    pipeline = predictions.read(folded / "data/predictions/tones.parquet")
    assert table.utterance_ids.tolist() == own.ids[some].tolist()
    np.testing.assert_allclose(table.posterior, pipeline.posterior[some], rtol=0, atol=1e-6)
    assert not (tmp_path / "out/predictions_folds/tones/fold0.parquet").exists()


def test_folds_that_are_not_the_systems_are_refused(folded, tmp_path):
    own = manifest.read(folded / "data/manifest.parquet")
    moved = [["fold2"] if "fold1" in names else names for names in own.frame["subsets"]]
    other = replace(own, frame=own.frame.assign(subsets=pd.Series(moved, dtype=object)))
    with pytest.raises(InputError, match=r"is of fold2 and in .*manifest.parquet of fold1; expected the folds"):
        system.apply(folded, other, tmp_path / "out")
    more = replace(own, frame=own.frame.assign(subsets=pd.Series([["fold7"]] * len(own), dtype=object)))
    with pytest.raises(InputError, match="has the subset fold7, and the system of .* has 3 folds"):
        system.apply(folded, more, tmp_path / "out")
    with pytest.raises(InputError, match="tones has no utterance"):
        system.apply(folded, keep(own, np.zeros(len(own), dtype=bool)), tmp_path / "out")


def test_a_killed_run_goes_on_from_its_shards(plain, tmp_path, monkeypatch):
    own = manifest.read(plain / "data/manifest.parquet")
    monkeypatch.setattr(predict, "SHARD", 20)  # three shards
    whole = system.apply(plain, own, tmp_path / "whole")["fused"].read_bytes()
    real = experts.predictions.write

    def killed(path, table):
        if path.name == "tones.parquet":
            raise KeyboardInterrupt
        real(path, table)

    monkeypatch.setattr(experts.predictions, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        system.apply(plain, own, tmp_path / "out")
    monkeypatch.setattr(experts.predictions, "write", real)
    loaded = []
    monkeypatch.setattr(predict.PredictionJob, "predicting_with", lambda *_: loaded.append)
    assert system.apply(plain, own, tmp_path / "out")["fused"].read_bytes() == whole
    assert loaded == []  # all three were there


def test_another_encoder_or_another_fusion_than_the_fitted_one_is_refused(plain, tmp_path):
    other = tmp_path / "project"
    shutil.copytree(plain, other)
    own, params = manifest.read(other / "data/manifest.parquet"), YAML(typ="safe").load(plain / "params.yaml")
    params["embedding"]["frozen"]["layers"] = [0, 1]
    YAML().dump(params, other / "params.yaml")
    with pytest.raises(InputError, match=r"embedding\.frozen: layers is \(0, 1\), the system was fitted on \(0, 1, 2"):
        system.apply(other, own, tmp_path / "out")
    params["embedding"]["frozen"]["layers"] = "all"
    params["fusion"]["experts"] = ["expert", "texts", "frozen"]
    YAML().dump(params, other / "params.yaml")
    with pytest.raises(InputError, match=r"fitted on posteriors of \['expert', 'frozen', 'texts'\], fusion.experts"):
        system.apply(other, own, tmp_path / "out")
    with pytest.raises(InputError, match=r"has no params\.yaml, expected the folder of a project"):
        system.apply(tmp_path, own, tmp_path / "out")


def test_transcripts_are_those_of_the_engine(plain, tmp_path, tones):
    from pipeline_lib.tables import transcripts

    table = transcripts.read(system.transcribe(plain, tones.corpus, tmp_path / "out"))
    assert table.engine == "reference" and table.aligned(tones.corpus.ids.tolist()) == tones.texts
