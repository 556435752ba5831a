"""An entry with folds is the entry on each fold's split, to the byte, and nothing of a test fold is fitted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.tables import embeddings, folds, manifest, predictions
from stages import rebalancing
from tests.folded import deal
from tests.rebalancing.made import corpus, embed, expert

N_FOLDS = 3
ENTRIES = {
    "audio": {
        "reads": {"source": "data/predictions_folds/audio"},
        "folds": True,
        "method": "lda_logistic",
        "calibration": "temperature",
        "prior": "em",
    },
    "layers": {
        "reads": {"source": "data/embeddings/audio"},
        "folds": True,
        "source": {"layers": "best_on_dev", "normalise": "speaker"},
        "method": "plda",
    },
}


def lay_down(path, monkeypatch, of, entries=ENTRIES):
    """Write a corpus with folds, an expert's predictions by fold, an embedding and params.yaml, and go there."""
    path.mkdir(exist_ok=True)
    monkeypatch.chdir(path)
    of = replace(of, frame=of.frame.assign(speaker=[f"s{row % 12:02d}" for row in range(len(of))]))
    manifest.write(Path("data/manifest.parquet"), of)
    for fold in range(N_FOLDS):
        predictions.write(Path(f"data/predictions_folds/audio/fold{fold}.parquet"), expert(of, seed=fold))
    embed(Path("data/embeddings/audio"), of)
    Path("params.yaml").write_text(json.dumps({"rebalancing": entries}))
    return of


def files_of(folder):
    """Return the bytes of every file below the folder, by path."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


@pytest.mark.parametrize("name", ENTRIES)
def test_folds_of_one_entry_equal_runs_on_each_split_to_the_byte(tmp_path, monkeypatch, name):
    of = lay_down(tmp_path / "folds", monkeypatch, deal(corpus(n=180), N_FOLDS, outside=6))
    rebalancing.main(name)
    joined = predictions.read(Path(f"data/rebalanced/{name}.parquet"))
    assert joined.fitted_on == () and joined.expert == name and len(joined) == 180
    tables = []
    for fold in range(N_FOLDS):
        source = f"{ENTRIES['audio']['reads']['source']}/fold{fold}.parquet" if name == "audio" else None
        reads = {"source": source} if source else ENTRIES[name]["reads"]
        by_hand = ENTRIES[name] | {"folds": False, "reads": reads}
        lay_down(tmp_path / f"split{fold}", monkeypatch, of, {name: by_hand})
        view = folds.view(of, fold)
        manifest.write(Path("data/manifest.parquet"), view)
        with monkeypatch.context() as named_alike:  # in the record of the labels that were read
            named_alike.setattr(manifest.Manifest, "own_names", lambda _, part, view=view: view.names_in_corpus[part])
            rebalancing.main(name)
        of_fold = tmp_path / "folds/data/rebalanced_folds" / name / f"fold{fold}.parquet"
        assert Path(f"data/rebalanced/{name}.parquet").read_bytes() == of_fold.read_bytes()
        learned = files_of(tmp_path / "folds/models/rebalancing" / name / f"fold{fold}")
        assert files_of(Path(f"models/rebalancing/{name}")) == learned and len(learned) == 2
        assert [*files_of(Path(f"data/rebalanced_folds/{name}"))] == ["none.txt"]
        tables.append(predictions.read(of_fold))
    for row, utterance in enumerate(of.ids):
        own = [tables[row % N_FOLDS].posterior[row]] if row < 174 else [table.posterior[row] for table in tables]
        assert joined.utterance_ids[row] == utterance
        np.testing.assert_allclose(joined.posterior[row], np.mean(own, axis=0), rtol=1e-14)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_labels_of_a_test_fold_change_nothing_of_its_model(tmp_path, monkeypatch, name):
    of = lay_down(tmp_path, monkeypatch, deal(corpus(n=180), N_FOLDS))
    rebalancing.main(name)
    first = files_of(Path(f"models/rebalancing/{name}"))
    emotion, tested = of.frame["emotion"].to_numpy(dtype=object), of.mask("fold0")
    emotion[tested] = np.random.default_rng(0).permutation(emotion[tested])
    manifest.write(Path("data/manifest.parquet"), replace(of, frame=of.frame.assign(emotion=emotion)))
    rebalancing.main(name)
    second = files_of(Path(f"models/rebalancing/{name}"))
    same = {path for path in first if second[path] == first[path]}
    assert {"fold0/model.json", "fold0/back_ends.safetensors"} <= same  # the others train or develop on these labels
    assert not same & {"fold1/model.json", "fold2/model.json"}


def test_permuted_labels_are_at_chance_out_of_fold_and_true_ones_are_not(tmp_path, monkeypatch):
    of = lay_down(tmp_path, monkeypatch, deal(corpus(n=600), N_FOLDS))
    embed(Path("data/embeddings/audio"), of, layers=(3,), evidence={3: 3.0})
    scores = {}
    for kind in ("true", "permuted"):
        emotion = of.frame["emotion"].to_numpy(dtype=object)
        if kind == "permuted":
            emotion = np.random.default_rng(0).permutation(emotion)
        permuted = deal(replace(of, frame=of.frame.assign(emotion=emotion)), N_FOLDS)
        manifest.write(Path("data/manifest.parquet"), permuted)
        rebalancing.main("layers")
        truth, table = permuted.truth(), predictions.read(Path("data/rebalanced/layers.parquet"))
        known = truth >= 0
        scores[kind] = unweighted_accuracy(truth[known], table.posterior[known].argmax(axis=1), 3)
    # of independent predictions each recall is binomial with the share of its prediction, at most variance 1 / 4
    counts = np.bincount(truth[known])
    bound = 4 * np.sqrt((0.25 / counts).sum()) / 3
    assert scores["true"] > 0.95 and abs(scores["permuted"] - 1 / 3) < bound < 0.2


def test_metrics_are_of_each_fold_and_their_mean_and_a_layer_is_read_once(tmp_path, monkeypatch, capsys):
    lay_down(tmp_path, monkeypatch, deal(corpus(n=180), N_FOLDS))
    read, layers = embeddings.read_layer, []
    monkeypatch.setattr(embeddings, "read_layer", lambda folder, layer: layers.append(layer) or read(folder, layer))
    rebalancing.main("layers")
    assert layers == [0, 2, 3]
    metrics = json.loads(Path("metrics/rebalancing/layers.json").read_text())
    assert set(metrics) == {"best_on_dev", "on_dev", "folds"} and set(metrics["folds"]) == {"layer", "macro_f1", "ua"}
    assert metrics["on_dev"]["ua"] == pytest.approx(np.mean(metrics["folds"]["ua"]), abs=1e-6)
    assert len(metrics["folds"]["layer"]) == N_FOLDS
    curve = [line.split(",") for line in Path("metrics/plots/layers/layers.csv").read_text().splitlines()[1:]]
    assert max(float(ua) for _, _, ua in curve) == metrics["best_on_dev"]["ua"]["score"]
    rebalancing.main("audio")
    metrics = json.loads(Path("metrics/rebalancing/audio.json").read_text())
    assert metrics["temperature"] == pytest.approx(np.mean(metrics["folds"]["temperature"]), abs=1e-6)
    assert "rebalancing.audio: fold2 of 3" in capsys.readouterr().out


def test_what_is_fitted_on_dev_too_has_no_scores_of_dev_and_the_layers_that_dev_chose(tmp_path, monkeypatch):
    entries = ENTRIES | {"again": ENTRIES["layers"] | {"refit": True}}
    lay_down(tmp_path, monkeypatch, deal(corpus(n=180), N_FOLDS), entries)
    metrics = {}
    for name in ("layers", "again"):
        rebalancing.main(name)
        metrics[name] = json.loads(Path(f"metrics/rebalancing/{name}.json").read_text())
    assert {*metrics["again"]} == {"best_on_dev", "folds"}
    assert metrics["again"]["folds"] == {"layer": metrics["layers"]["folds"]["layer"]}


def test_a_source_and_folds_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    entries = {
        "one": ENTRIES["audio"] | {"reads": {"source": "data/predictions/audio.parquet"}},
        "none": ENTRIES["audio"] | {"folds": False},
    }
    lay_down(tmp_path, monkeypatch, deal(corpus(n=60), N_FOLDS), ENTRIES | entries)
    with pytest.raises(InputError, match="rebalancing.one.folds is true, and its reads.source .* is not a folder"):
        rebalancing.main("one")
    with pytest.raises(InputError, match="rebalancing.none.reads.source is .* set it to true"):
        rebalancing.main("none")
    manifest.write(Path("data/manifest.parquet"), corpus(n=60))
    with pytest.raises(InputError, match="rebalancing.layers.folds is true, but the manifest has no folds"):
        rebalancing.main("layers")
