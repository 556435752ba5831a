"""Scores over folds: pooled, and mean and deviation fold by fold."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.over_folds import cautions_of_folds, over_folds
from pipeline_lib.scoring.report import POOLED, report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align
from pipeline_lib.tables import folds
from tests.scoring.corpora import drawn_manifest, drawn_predictions

OPTIONS = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}


def in_folds(number=3, by="speaker", **options):
    """Return a drawn manifest whose utterances are tested in ``number`` folds, apart by speaker or not."""
    manifest = drawn_manifest(**options)
    frame = manifest.frame
    keys = frame["speaker"].factorize()[0] if by == "speaker" else np.arange(len(frame))
    frame["split"] = folds.SPLIT
    frame["subsets"] = [[f"fold{key % number}", f"fold{(key + 1) % number}_dev"] for key in keys]
    return manifest


def settings(names, **rest):
    values = {"splits": ["folds"], "plotted_split": "folds"}
    values |= {"tables": {name: f"data/predictions/{name}.parquet" for name in names}}
    return ScoringSettings.parse({**values, "comparison": {"against": []}, **rest}, "scoring")


def systems(manifest, **skills):
    tables = {name: drawn_predictions(manifest, name, i, skill) for i, (name, skill) in enumerate(skills.items())}
    return tables, [align(name, Path(name), table, manifest) for name, table in tables.items()]


def test_each_fold_is_scored_by_itself_and_all_are_pooled():
    manifest = in_folds()
    tables, aligned = systems(manifest, audio=1.0)
    result = score(manifest, aligned, settings(tables)).scores
    fold, truth = folds.fold_of(manifest), manifest.truth()
    guess = tables["audio"].posterior.argmax(axis=1)
    by_fold = [
        recall_score(truth[rows], guess[rows], **OPTIONS) for rows in ((fold == k) & (truth >= 0) for k in range(3))
    ]
    ua = result["over_folds"]["audio"]["ua"]
    np.testing.assert_allclose([*ua["by_fold"].values()], by_fold, rtol=1e-12)
    assert list(ua["by_fold"]) == ["fold0", "fold1", "fold2"]
    assert ua["mean"] == pytest.approx(sum(by_fold) / 3)
    assert ua["deviation"] == pytest.approx((sum((x - sum(by_fold) / 3) ** 2 for x in by_fold) / 2) ** 0.5)
    pooled = result["folds"]["audio"]
    known = truth >= 0
    assert pooled["macro_f1"] == pytest.approx(f1_score(truth[known], guess[known], **OPTIONS))
    assert (pooled["n"], pooled["n_speakers"]) == (100, 10)
    assert set(result["over_folds"]["audio"]) == {"macro_f1", "ua", "wa", "ccc_mean"}
    right = [(truth[rows] == guess[rows]).mean() for rows in ((fold == k) & (truth >= 0) for k in range(3))]
    assert result["over_folds"]["audio"]["wa"]["mean"] == pytest.approx(sum(right) / 3)


def test_the_report_says_what_pooled_means_and_has_the_mean_over_folds():
    manifest = in_folds()
    tables, aligned = systems(manifest, audio=1.0)
    result = score(manifest, aligned, settings(tables))
    page, ua = report(result, settings(tables)), result.scores["over_folds"]["audio"]["ua"]
    assert POOLED in page
    assert f"{ua['mean']:.3f} ± {ua['deviation']:.3f}" in page
    assert not [warning for warning in result.warnings if "folds lack" in warning or "trained on in" in warning]


def test_a_label_that_a_fold_lacks_is_said_with_what_it_does():
    manifest = in_folds()
    rows = manifest.mask("fold1") & (manifest.frame["emotion"] == "sadness").to_numpy()
    manifest.frame.loc[rows, "emotion"] = "neutral"
    (warning,) = cautions_of_folds(manifest)
    assert warning == (
        "folds: 1 of 3 folds lack a label (fold1: sadness); there it counts 0 in macro_f1 and ua, which lowers the mean"
        " over folds, not the pooled score"
    )
    tables, aligned = systems(manifest, audio=30.0)  # right everywhere
    assert over_folds(manifest, aligned)["audio"]["ua"]["by_fold"] == {
        "fold0": pytest.approx(1),
        "fold1": pytest.approx(2 / 3),
        "fold2": pytest.approx(1),
    }


def test_a_speaker_in_several_folds_is_said():
    (warning,) = cautions_of_folds(in_folds(by="utterance"))
    assert warning == "folds: 10 of 10 speakers are tested in one fold and trained on in another; it flatters"


def test_a_fold_without_a_scored_utterance_is_left_out():
    manifest = in_folds()
    manifest.frame.loc[manifest.mask("fold2"), "emotion"] = "X"
    _, aligned = systems(manifest, audio=1.0)
    assert list(over_folds(manifest, aligned)["audio"]["ua"]["by_fold"]) == ["fold0", "fold1"]


def test_of_several_opponents_the_better_on_the_folds_is_taken_and_the_report_says_so():
    manifest = in_folds()
    tables, aligned = systems(manifest, fused=3.0, audio=1.0, text=2.0)
    options = settings(tables, comparison={"against": ["audio", "text"], "chosen_on": "folds"})
    result = score(manifest, aligned, options)
    assert result.scores["folds"]["fused_minus_best"]["best"] == "text"
    page = report(result, options)
    assert "fused less text (the better of audio and text on folds, the harder opponent: chosen on what is" in page


def test_without_folds_there_is_no_mean_over_them():
    manifest = drawn_manifest()
    tables, aligned = systems(manifest, audio=1.0)
    result = score(manifest, aligned, settings(tables, splits=["test"], plotted_split="test"))
    assert "over_folds" not in result.scores
