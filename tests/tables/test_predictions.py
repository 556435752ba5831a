"""Predictions on disk: what comes back, what is refused, and experts side by side."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.tables import _parquet, predictions
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance

WHOLE = Predictions(
    utterance_ids=np.array(["a", "b", "c"], dtype=object),
    expert="audio",
    labels=("anger", "neutral", "O"),
    posterior=np.array([[0.1, 0.2, 0.7], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]),
    training_prior=np.array([0.1, 0.7, 0.2]),
    attribute_names=("arousal", "valence"),
    attributes=np.array([[1.0, 7.0], [2.5, 3.5], [4.0, 4.0]]),
    embedding=np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    provenance=Provenance(("dev_bal", "train"), ("dev",)),
)
ARRAYS = ("posterior", "training_prior", "attributes", "embedding")


def same(found, expected):
    assert found.utterance_ids.tolist() == expected.utterance_ids.tolist()
    for name in ("expert", "labels", "attribute_names", "provenance"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ARRAYS:
        one, two = getattr(found, name), getattr(expected, name)
        assert (one is None) == (two is None)
        if two is not None:
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "kept",
    [
        WHOLE,
        Predictions(WHOLE.utterance_ids, "text", labels=WHOLE.labels, posterior=WHOLE.posterior),
        Predictions(WHOLE.utterance_ids, "text", attribute_names=("valence",), attributes=np.ones((3, 1))),
        Predictions(np.array([], dtype=object), "nobody", labels=("anger",), posterior=np.empty((0, 1))),
    ],
    ids=["all", "posterior", "attributes", "no utterance"],
)
def test_what_is_written_comes_back_to_the_last_digit(tmp_path, kept):
    predictions.write(tmp_path / "p.parquet", kept)
    same(predictions.read(tmp_path / "p.parquet"), kept)


def test_rows_are_sorted_whatever_their_order_and_the_bytes_are_the_same(tmp_path):
    order = [2, 0, 1]
    shuffled = replace(WHOLE, utterance_ids=WHOLE.utterance_ids[order])
    rows = ("posterior", "attributes", "embedding")
    shuffled = replace(shuffled, **{name: getattr(WHOLE, name)[order] for name in rows})
    predictions.write(tmp_path / "one.parquet", WHOLE)
    predictions.write(tmp_path / "two.parquet", shuffled)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def with_value(name, value):
    values = getattr(WHOLE, name).copy()
    values[1, 0] = value
    return replace(WHOLE, **{name: values})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (with_value("posterior", 1.7), "posterior of 'b' sums to 1.700000 .*were logits written in place"),
        (with_value("posterior", np.nan), "posterior of 'b' is not finite"),
        (
            replace(WHOLE, posterior=np.array([[0.5, 0.5, 0.0], [1.5, -0.5, 0.0], [1.0, 0.0, 0.0]])),
            "posterior of 'b' sums to 1.000000 with smallest value -0.500000",
        ),
        (with_value("attributes", np.inf), "attributes of 'b' is not finite"),
        (with_value("embedding", np.nan), "embedding of 'b' is not finite"),
        (replace(WHOLE, labels=("anger", "neutral")), r"posterior has shape \(3, 3\), expected \(3, 2\)"),
        (replace(WHOLE, attributes=np.ones((2, 2))), r"attributes has shape \(2, 2\), expected \(3, 2\)"),
        (replace(WHOLE, utterance_ids=np.array(["a", "b", "b"], dtype=object)), "utterance_id 'b' appears twice"),
    ],
)
def test_what_is_no_prediction_is_not_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        predictions.write(tmp_path / "p.parquet", wrong)
    assert not (tmp_path / "p.parquet").exists()


def test_a_file_that_holds_no_distribution_is_refused_by_file_and_utterance(tmp_path):
    path = tmp_path / "p.parquet"
    table = pa.table({"utterance_id": ["a"], "posterior": _parquet.matrix(np.array([[0.9, 0.9]]), 2, pa.float64())})
    said = {"expert": "audio", "labels": ["anger", "neutral"], "trained_prior": None, "attribute_names": []}
    _parquet.write(path, table, "predictions", said | {"fitted_on": []})
    with pytest.raises(InputError, match="p.parquet: posterior of 'a' sums to 1.800000"):
        predictions.read(path)


def test_a_missing_file_a_damaged_one_and_another_kind_are_refused(tmp_path):
    path = tmp_path / "p.parquet"
    with pytest.raises(InputError, match="p.parquet does not exist; the stage that writes it has not run"):
        predictions.read(path)
    predictions.write(path, WHOLE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="p.parquet cannot be read as Parquet"):
        predictions.read(path)
    _parquet.write(path, pa.table({"utterance_id": ["a"]}), "manifest", {})
    with pytest.raises(InputError, match="holds 'manifest', expected 'predictions'"):
        predictions.read(path)


def test_a_flipped_byte_inside_the_values_is_noticed(tmp_path):
    path = tmp_path / "p.parquet"
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 500)
    ids = np.array([f"u{i:03d}" for i in range(500)], dtype=object)
    predictions.write(path, Predictions(ids, "audio", labels=WHOLE.labels, posterior=rows))
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2] ^= 1
    path.write_bytes(stored)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        predictions.read(path)


def test_experts_side_by_side_have_nan_where_one_lacks_the_utterance():
    few = Predictions(np.array(["b"], dtype=object), "text", labels=WHOLE.labels, posterior=np.array([[0.2, 0.3, 0.5]]))
    posteriors, attributes = predictions.stack([WHOLE, few], ["c", "b", "d"])
    nothing = [np.nan] * 3
    np.testing.assert_array_equal(posteriors[0], [WHOLE.posterior[2], WHOLE.posterior[1], nothing])
    np.testing.assert_array_equal(posteriors[1], [nothing, [0.2, 0.3, 0.5], nothing])
    np.testing.assert_array_equal(attributes[0], [[4.0, 4.0], [2.5, 3.5], [np.nan, np.nan]])
    assert np.isnan(attributes[1]).all() and attributes.shape == (2, 3, 2)


def test_experts_without_attributes_have_none_side_by_side():
    only = replace(WHOLE, attributes=None, attribute_names=())
    assert predictions.stack([only, only], ["a"])[1] is None


@pytest.mark.parametrize("name", ["labels", "attribute_names"])
def test_experts_that_differ_in_labels_or_attributes_do_not_stand_side_by_side(name):
    other = replace(WHOLE, expert="text", **{name: getattr(WHOLE, name)[::-1]})
    with pytest.raises(InputError, match=f"experts 'audio' and 'text' differ in {name}"):
        predictions.stack([WHOLE, other], ["a"])
