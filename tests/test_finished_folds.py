"""The benchmark of finished folds: what it takes for finished, and that its scores are those of the stage."""

import pytest
import yaml

from benchmarks.finished_folds import finished, line, main
from pipeline_lib.errors import InputError
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.rebalancing import folds as stage
from pipeline_lib.tables import folds, manifest, predictions
from tests.rebalancing.made import corpus, expert, settings

BACK_END = {"folds": True, "method": "lda_logistic", "reads": {"source": "data/predictions_folds/audio"}}


def made(folder):
    """Return a corpus of two folds; fold0 of the expert audio is finished, fold1 is not."""
    of = corpus(n=80)
    of.frame["split"], of.frame["speaker"] = "folds", [f"s{row % 8}" for row in range(80)]
    of.frame["subsets"] = [
        ["fold0", "fold1_dev"]
        if row % 8 == 0
        else ["fold0"]
        if row % 2 == 0
        else ["fold1", "fold0_dev"][: 1 + row % 3 // 2]
        for row in range(80)
    ]
    manifest.write(folder / "data/manifest.parquet", of)
    for fold in (0, 1):
        outputs = folder / f"work/finetuning/audio/fold{fold}/abc/outputs"
        outputs.mkdir(parents=True)
        predictions.write(outputs / "predictions.parquet", expert(of, seed=fold))
    (folder / "work/finetuning/audio/fold0/abc/finished.json").write_text("{}")
    (folder / "params.yaml").write_text(yaml.safe_dump({"rebalancing": {"audio": BACK_END}}))
    return of


def test_a_finished_fold_is_scored_as_the_stage_scores_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    of = made(tmp_path)
    assert [*finished(tmp_path / "work/finetuning/audio", 2)] == [0]
    main("audio")
    printed = capsys.readouterr().out.splitlines()[-1]
    (tmp_path / "data/predictions_folds/audio").mkdir(parents=True)
    for fold in (0, 1):
        predictions.write(tmp_path / f"data/predictions_folds/audio/fold{fold}.parquet", expert(of, seed=fold))
    part = stage.fit_parts(settings(**BACK_END), of, "audio")[0]
    view, truth = folds.view(of, 0), of.truth()
    expected = {}
    for split in ("dev", "test"):
        rows = view.mask(split) & (truth >= 0)
        expected[split] = 100 * unweighted_accuracy(truth[rows], part.table.posterior[rows].argmax(axis=1), 3)
    test, dev = expected["test"], expected["dev"]
    assert printed == f"audio: UA on test fold0 {test:.1f}; mean {test:.1f}; dev {dev:.1f}"


def test_the_mean_is_over_folds_and_a_refitted_entry_has_no_dev():
    scores = {0: {"dev": 0.5, "test": 0.6}, 3: {"dev": 0.7, "test": 0.8}}
    assert line(scores, refit=False) == "UA on test fold0 60.0, fold3 80.0; mean 70.0; dev 60.0"
    assert line(scores, refit=True) == "UA on test fold0 60.0, fold3 80.0; mean 70.0"


def test_without_a_finished_fold_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(tmp_path)
    (tmp_path / "work/finetuning/audio/fold0/abc/finished.json").unlink()
    with pytest.raises(InputError, match="has no finished fold"):
        main("audio")
