"""Chance and ceiling of a split, against scikit-learn and against guesses that are drawn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from pipeline_lib.scoring.chance import chance
from tests.scoring.corpora import LABELS, drawn_manifest


def without(manifest, split, label):
    """Return the manifest in which no utterance of the split has the label."""
    rows = manifest.mask(split) & (manifest.frame["emotion"] == label).to_numpy()
    manifest.frame.loc[rows, "emotion"] = LABELS[0]
    return manifest


def test_the_majority_and_the_ceiling_are_scikit_learns():
    manifest = without(drawn_manifest(), "test", "sadness")
    got = chance(manifest, "test")
    truth = manifest.truth()[manifest.mask("test")]
    truth = truth[truth >= 0]
    options = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}
    most = np.full(len(truth), np.bincount(truth).argmax())
    assert got["majority"]["ua"] == pytest.approx(recall_score(truth, most, **options), abs=1e-15)
    assert got["majority"]["macro_f1"] == pytest.approx(f1_score(truth, most, **options), abs=1e-15)
    assert got["majority"]["wa"] == np.mean(truth == most)
    assert got["ceiling"] == recall_score(truth, truth, **options) == pytest.approx(2 / 3)
    assert got["counts"] == {"anger": (truth == 0).sum(), "neutral": (truth == 1).sum(), "sadness": 0}


def test_a_uniform_guess_is_what_many_drawn_guesses_score():
    manifest = without(drawn_manifest(utterances=120), "test", "sadness")
    got = chance(manifest, "test")["uniform"]
    truth = manifest.truth()[manifest.mask("test")]
    truth = np.tile(truth[truth >= 0], 500)
    guess = np.random.default_rng(1).integers(0, 3, len(truth))
    options = {"labels": [0, 1, 2], "average": "macro", "zero_division": 0}
    assert got["ua"] == pytest.approx(2 / 9, abs=1e-12)  # of 3 labels 2 are there, each guessed by one in three
    assert got["ua"] == pytest.approx(recall_score(truth, guess, **options), abs=3e-3)
    assert got["macro_f1"] == pytest.approx(f1_score(truth, guess, **options), abs=3e-3)
    assert got["wa"] == pytest.approx(1 / 3, abs=1e-12)


def test_a_split_without_labels_has_no_chance():
    manifest = drawn_manifest()
    manifest.frame.loc[manifest.mask("test"), "emotion"] = "X"
    assert chance(manifest, "test") == {}
