"""Fusion fold by fold: each fold is a fusion on its own split, and reads nothing of what it tests."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.fusion import model
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.tables import folds, manifest, predictions
from stages import fusion
from tests.folded import deal
from tests.fusion.experts import METHODS, corpus, pair, settings

N_FOLDS = 3


def _lay_down(folder, monkeypatch, of, **values):
    """Write a corpus, tables a fold, which differ between folds, and params.yaml."""
    monkeypatch.chdir(folder)
    manifest.write(Path("data/manifest.parquet"), of)
    for table in pair(of):
        for fold in range(N_FOLDS):
            posterior = table.posterior ** (1 + fold / 4)
            changed = replace(table, posterior=posterior / posterior.sum(axis=1, keepdims=True))
            path = Path("data/rebalanced_folds") / table.expert / f"fold{fold}.parquet"
            predictions.write(path, changed)
    _write_params(**values)


def _write_params(**values):
    entry = {"experts": ["audio", "text"], "folds": True, "tuning": "dev_filt"} | values
    Path("params.yaml").write_text(json.dumps({"fusion": entry}))


def _bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_fold_equals_a_fusion_on_its_own_split(tmp_path, monkeypatch, method):
    of = deal(corpus(), N_FOLDS, outside=6)
    _lay_down(tmp_path, monkeypatch, of, method=method)
    fusion.main()
    fused = predictions.read(Path("data/fused.parquet"))
    assert fused.fitted_on == ()
    options = settings(method=method, tuning="dev_filt", folds=True)
    single = []
    for fold in range(N_FOLDS):
        split = [
            "unlabelled" if i >= 114 else "test" if i % 3 == fold else "dev" if (i - 1) % 3 == fold else "train"
            for i in range(120)
        ]
        names = [["dev_filt", "dev_bal"] if name == "dev" else [] for name in split]
        by_hand = replace(of, frame=of.frame.assign(split=split, subsets=names))
        experts = [
            predictions.read(Path(f"data/rebalanced_folds/{name}/fold{fold}.parquet")) for name in options.experts
        ]
        fitted = fuse(experts, by_hand, options)
        model.write(Path(f"by_hand/fold{fold}"), fitted, options)
        single.append(fitted.fused.posterior)
        inside = np.arange(120) % 3 == fold
        inside[114:] = False
        np.testing.assert_array_equal(fused.posterior[inside], fitted.fused.posterior[inside])
    np.testing.assert_allclose(fused.posterior[114:], np.mean(single, axis=0)[114:], rtol=1e-15)
    assert _bytes("models/fusion") == _bytes("by_hand")
    assert Path("data/fused_crossfitted.parquet").read_bytes() == Path("data/fused.parquet").read_bytes()


def test_labels_of_a_tested_fold_change_nothing_of_its_fusion(tmp_path, monkeypatch):
    of = deal(corpus(), N_FOLDS)
    _lay_down(tmp_path, monkeypatch, of, method="logreg")
    fusion.main()
    before = _bytes("models/fusion")
    emotions = of.frame["emotion"].to_numpy(dtype=object).copy()
    tested = np.flatnonzero(folds.fold_of(of) == 1)
    emotions[tested] = np.roll(emotions[tested], 1)
    manifest.write(Path("data/manifest.parquet"), replace(of, frame=of.frame.assign(emotion=emotions)))
    fusion.main()
    after = _bytes("models/fusion")
    same = {name for name in before if before[name] == after[name]}
    unchanged = {name for name in same if name.endswith("fusion.json")}
    assert unchanged == {"fold1/fusion.json", "fold2/fusion.json"}  # fold 0 develops on what fold 1 tests


@pytest.mark.parametrize("method", METHODS)
def test_one_expert_passes_unchanged(tmp_path, monkeypatch, method):
    _lay_down(tmp_path, monkeypatch, deal(corpus(), N_FOLDS), method=method, experts=["audio"])
    fusion.main()
    tables = [predictions.read(Path(f"data/rebalanced_folds/audio/fold{fold}.parquet")) for fold in range(N_FOLDS)]
    expected = folds.out_of_fold(manifest.read(Path("data/manifest.parquet")), tables)
    fused = predictions.read(Path("data/fused.parquet"))
    np.testing.assert_allclose(fused.posterior, expected.posterior, rtol=1e-15)
    np.testing.assert_allclose(fused.attributes, expected.attributes, rtol=1e-15)
    assert model.read(Path("models/fusion/fold0")).fuser.weights_.tolist() == [1.0]


def test_what_lacks_folds_is_refused(tmp_path, monkeypatch):
    _lay_down(tmp_path, monkeypatch, deal(corpus(), N_FOLDS))
    Path("data/rebalanced_folds/text/fold2.parquet").unlink()
    with pytest.raises(
        InputError, match="fold2.parquet does not exist, and fusion.folds is true.*rebalancing.text.folds"
    ):
        fusion.main()
    manifest.write(Path("data/manifest.parquet"), corpus())
    with pytest.raises(InputError, match="fusion.folds is true, but the manifest has no folds"):
        fusion.main()
