"""The expected macro-F1 of a balanced test: by hand, by scikit-learn's weights, and by drawing balanced tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline_lib.errors import InputError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.expected import balanced_macro_f1_of, expected
from pipeline_lib.scoring.report import report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align
from tests.scoring.corpora import ENOUGH, LABELS, drawn_manifest, drawn_predictions


def settings(on="dev", **values):
    common = {"splits": ["test"], "tables": {"audio": "a.parquet"}}
    return ScoringSettings.parse({**common, "comparison": {"against": []}, "expected": {"on": on}, **values}, "scoring")


def confusion(seed=0, n=4000):
    """Return truth under a skewed prior and a prediction that is right more often than not."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(4, n, p=[0.7, 0.15, 0.1, 0.05])
    return truth, np.where(generator.random(n) < 0.55, truth, generator.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]))


def counted(truth, prediction):
    return pd.crosstab(truth, prediction).to_numpy(dtype=float)


def test_by_hand_and_of_balanced_data_it_is_macro_f1():
    cells = np.array([[8.0, 2.0], [10.0, 30.0]])
    assert balanced_macro_f1_of(cells) == pytest.approx((1.6 / 2.05 + 1.5 / 1.95) / 2, abs=1e-15)
    even = np.array([[8.0, 2.0], [3.0, 7.0]])
    assert balanced_macro_f1_of(even) == pytest.approx((16 / 21 + 14 / 19) / 2, abs=1e-15)


def test_it_is_scikit_learns_macro_f1_with_every_label_weighing_alike():
    truth, prediction = confusion()
    weights = (1 / np.bincount(truth))[truth]
    reference = f1_score(truth, prediction, average="macro", sample_weight=weights)
    assert balanced_macro_f1_of(counted(truth, prediction)) == pytest.approx(reference, abs=1e-12)
    assert abs(reference - f1_score(truth, prediction, average="macro")) > 0.02


def test_it_is_the_mean_of_balanced_tests_drawn_from_the_data():
    truth, prediction = confusion(seed=1)
    generator = np.random.default_rng(2)
    rows_of = [np.flatnonzero(truth == k) for k in range(4)]
    scores = []
    for _ in range(60):
        rows = np.concatenate([generator.choice(rows, 2000) for rows in rows_of])
        scores.append(f1_score(truth[rows], prediction[rows], average="macro"))
    # 60 tests of 8,000: the error of the mean, and a bias of the order of 1 / 8,000
    tolerance = 4 * np.std(scores) / np.sqrt(60) + 1e-3
    assert balanced_macro_f1_of(counted(truth, prediction)) == pytest.approx(np.mean(scores), abs=tolerance)
    assert tolerance < 4e-3


def test_each_system_has_a_number_with_its_interval_and_the_report_shows_it():
    manifest = drawn_manifest(utterances=60, speakers=ENOUGH)
    table = drawn_predictions(manifest, "audio", 2, skill=1.0)
    systems = [align("audio", Path("a.parquet"), table, manifest)]
    scored = score(manifest, systems, settings())
    values = scored.scores["expected"]["audio"]
    rows = manifest.mask("dev") & (manifest.truth() >= 0)
    truth, prediction = manifest.truth()[rows], table.posterior[rows].argmax(axis=1)
    weights = (1 / np.bincount(truth))[truth]
    assert values["macro_f1"] == pytest.approx(
        f1_score(truth, prediction, average="macro", sample_weight=weights), abs=1e-12
    )
    speakers, scores = manifest.frame["speaker"].to_numpy()[rows], []
    for name in dict.fromkeys(speakers):
        others = speakers != name
        weights = (1 / np.bincount(truth[others]))[truth[others]]
        scores.append(f1_score(truth[others], prediction[others], average="macro", sample_weight=weights))
    # five speakers of ten utterances each: t of 4 degrees of freedom, on the logit scale
    error = np.sqrt(4 / 5 * np.sum((scores - np.mean(scores)) ** 2))
    reach = 2.776445105 * error / (values["macro_f1"] * (1 - values["macro_f1"]))
    odds = values["macro_f1"] / (1 - values["macro_f1"])
    bounds = (values["macro_f1_lo"], values["macro_f1_hi"])
    assert bounds == pytest.approx([odds * e / (1 + odds * e) for e in (np.exp(-reach), np.exp(reach))], abs=1e-9)
    assert values["n"] == rows.sum()
    page = report(scored, settings())
    line = f"| audio | {values['n']} | {values['macro_f1']:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}] |"
    assert "## A hidden test with as many utterances of each label" in page and line in page
    without = score(manifest, systems, settings(on=None))
    assert "expected" not in without.scores and "hidden test" not in report(without, settings(on=None))


def test_who_was_fitted_there_is_marked_and_who_lacks_a_label_is_left_out_with_a_warning():
    manifest = drawn_manifest()
    tables = [
        drawn_predictions(manifest, "fused", 2, fitted_on=("dev_bal",)),
        drawn_predictions(manifest, "audio", 3, rows=manifest.truth() != LABELS.index("sadness")),
    ]
    systems = [align(each.expert, Path("a.parquet"), each, manifest) for each in tables]
    values, warnings = expected(manifest, systems, settings())
    assert [*values] == ["fused_resubstitution"]
    assert warnings == ["expected: audio predicts no utterance of ['sadness'] in dev and is left out"]
    attributes = replace(systems[1], posterior=None)
    assert expected(manifest, [attributes], settings()) == ({}, [])
    with pytest.raises(InputError, match="no split or subset 'dev7'"):
        expected(manifest, systems, settings(on="dev7"))
