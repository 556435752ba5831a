"""Folds of a manifest: each utterance is tested once, by a view in which its fold is the test set."""

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.tables import folds
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

LABELS = ("anger", "joy")
ROWS = {  # utterance -> split, subsets
    "a": ("folds", ["fold0", "fold1_dev", "fold1_dev_filt"]),
    "b": ("folds", ["fold0"]),
    "c": ("folds", ["fold1", "fold0_dev", "fold0_dev_filt", "fold0_dev_bal", "studio"]),
    "d": ("folds", ["fold1"]),
    "e": ("unlabelled", ["studio"]),
}


def _manifest() -> Manifest:
    columns = {"utterance_id": list(ROWS), "split": [s for s, _ in ROWS.values()]}
    frame = pd.DataFrame(columns | {"subsets": pd.Series([names for _, names in ROWS.values()], dtype=object)})
    return Manifest(frame, "made", LABELS)


def _table(values: dict[str, float], prior: float) -> Predictions:
    first = np.array(list(values.values()))
    posterior = np.column_stack([first, 1 - first])
    ids = np.array(list(values), dtype=object)
    return Predictions(ids, "audio", LABELS, posterior, np.array([prior, 1 - prior]), embedding=np.ones((len(ids), 3)))


def test_a_view_has_the_splits_and_subsets_of_its_fold():
    seen = folds.view(_manifest(), 0).frame
    assert seen["split"].tolist() == ["test", "test", "dev", "train", "unlabelled"]
    assert seen["subsets"].tolist() == [[], [], ["studio", "dev_filt", "dev_bal"], [], ["studio"]]
    seen = folds.view(_manifest(), 1).frame
    assert seen["split"].tolist() == ["dev", "train", "test", "test", "unlabelled"]


def test_each_utterance_is_tested_by_one_fold():
    assert folds.count(_manifest()) == 2
    assert folds.fold_of(_manifest()).tolist() == [0, 0, 1, 1, -1]


def test_out_of_fold_takes_each_utterance_from_its_fold_and_the_mean_elsewhere():
    tables = [
        _table({"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.9, "e": 0.4}, 0.5),
        _table({"a": 0.8, "b": 0.8, "c": 0.3, "e": 0.6}, 0.7),
    ]
    joined = folds.out_of_fold(_manifest(), tables)
    assert joined.utterance_ids.tolist() == ["a", "b", "c", "e"]  # fold 1 has no prediction of d
    assert joined.posterior is not None
    np.testing.assert_allclose(joined.posterior[:, 0], [0.1, 0.2, 0.3, 0.5])
    np.testing.assert_allclose(joined.training_prior, [0.6, 0.4])
    assert joined.embedding is None and joined.fitted_on == ()


def test_tables_that_do_not_fit_the_folds_are_refused():
    table = _table({"a": 0.1}, 0.5)
    with pytest.raises(InputError, match="tables of 1 folds, the manifest has 2 folds"):
        folds.out_of_fold(_manifest(), [table])
    with pytest.raises(InputError, match="set corpus.split.method: folds"):
        manifest = _manifest()
        folds.required(Manifest(manifest.frame.assign(split="train"), "made", LABELS), "finetuning.audio.folds is true")
