"""models/rebalancing/: what is read again gives the same table, and damage is refused."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import of_predictions
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import predictions
from tests.rebalancing.made import LABELS, corpus, expert, settings

PLDA = {"components": None, "shrinkage": "ledoit_wolf", "estimation": "em"}
ENTRIES = [
    {},
    {"prior": "none"},
    {"prior": "em", "calibration": "temperature"},
    {"prior": "development", "method": "lda_logistic", "calibration": "temperature"},
    {"method": "lda_logistic", "lda_logistic": {"components": None, "normalisation": "none"}},
    {"method": "plda"},
    {"method": "plda", "plda": PLDA | {"normalisation": "length"}},
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_model_read_again_gives_the_same_bytes(tmp_path, entry):
    of = corpus(n=120)
    read = of_predictions(expert(of))
    fitted = fit(read, of, settings(**entry), "mine")
    model.write(tmp_path / "mine", fitted)
    again = model.read(tmp_path / "mine")
    for name, each in (("first", fitted), ("again", again)):
        predictions.write(tmp_path / f"{name}.parquet", model.apply(each, read))
    assert (tmp_path / "first.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    model.write(tmp_path / "twice", again)
    for name in (model.RECORD, model.ARRAYS):
        assert (tmp_path / "mine" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    table = predictions.read(tmp_path / "again.parquet")
    assert (table.expert, table.labels, again.settings) == ("mine", LABELS, settings(**entry))


def test_a_model_needs_no_labels_and_takes_other_utterances():
    of = corpus(n=120)
    whole = expert(of)
    fitted = fit(of_predictions(whole), of, settings(method="plda", calibration="temperature"), "audio")
    parts = {name: getattr(whole, name)[:7] for name in ("utterance_ids", "posterior", "embedding")}
    few = expert(of, **parts)
    expected = model.apply(fitted, of_predictions(whole)).posterior[:7]
    np.testing.assert_allclose(model.apply(fitted, of_predictions(few)).posterior, expected, rtol=1e-12)


def test_an_expert_of_attributes_alone_fits_nothing(tmp_path):
    of = corpus(n=8)
    predicted = expert(of, labels=(), posterior=None, attributes=np.ones((8, 1)), attribute_names=("valence",))
    model.write(tmp_path / "x", fit(of_predictions(predicted), of, settings(), "x"))
    table = model.apply(model.read(tmp_path / "x"), of_predictions(predicted))
    assert table.posterior is None and table.attribute_names == ("valence",)


def test_what_is_missing_damaged_or_of_another_version_is_refused(tmp_path):
    of = corpus(n=120)
    folder = tmp_path / "mine"
    with pytest.raises(InputError, match=r"model.json does not exist; the stage rebalancing writes it \(dvc repro\)"):
        model.read(folder)
    model.write(folder, fit(of_predictions(expert(of)), of, settings(method="plda"), "mine"))
    record, arrays = folder / model.RECORD, folder / model.ARRAYS
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="back_ends.safetensors is damaged"):
        model.read(folder)
    arrays.unlink()
    with pytest.raises(InputError, match="back_ends.safetensors does not exist"):
        model.read(folder)
    arrays.write_bytes(content)
    text = record.read_text()
    record.write_text(text.replace("uniform", "unif0rm"))
    with pytest.raises(InputError, match="model.json does not match its checksum"):
        model.read(folder)
    record.write_text(text)
    values, _ = checksummed_json.read(record)
    record.write_text(checksummed_json.dumps(values | {"format_version": 2}, {model.ARRAYS: content}))
    with pytest.raises(InputError, match="model.json has format version 2, this code reads 1"):
        model.read(folder)
