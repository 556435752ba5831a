"""The stage: params.yaml and tables in, a table, a model, metrics and a curve out."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.params.base import ParameterError
from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.source import read
from pipeline_lib.tables import manifest, predictions
from stages import rebalancing
from tests.rebalancing.made import LABELS, corpus, embed, expert


@pytest.mark.parametrize("method", ["none", "lda_logistic", "plda"])
def test_the_stage_writes_the_same_bytes_twice(tmp_path, monkeypatch, method):
    of = corpus(n=80)
    monkeypatch.chdir(tmp_path)
    manifest.write(tmp_path / "data/manifest.parquet", of)
    predictions.write(tmp_path / "data/predictions/audio.parquet", expert(of))
    entry = f"{{reads: {{source: data/predictions/audio.parquet}}, method: {method}}}"
    (tmp_path / "params.yaml").write_text(f"rebalancing: {{audio: {entry}}}\n")
    rebalancing.main("audio")
    first = (tmp_path / "data/rebalanced/audio.parquet").read_bytes()
    rebalancing.main("audio")
    assert (tmp_path / "data/rebalanced/audio.parquet").read_bytes() == first
    assert predictions.read(tmp_path / "data/rebalanced/audio.parquet").labels == LABELS
    with pytest.raises(ParameterError, match="no section 'rebalancing.audi': 'audi' is not among"):
        rebalancing.main("audi")


def project(path, monkeypatch, entries):
    """Write a corpus, an expert's predictions, an embedding and params.yaml, and go there."""
    monkeypatch.chdir(path)
    of = corpus(n=120)
    manifest.write(Path("data/manifest.parquet"), of)
    predictions.write(Path("data/predictions/audio.parquet"), expert(of))
    embed(Path("data/embeddings/audio"), of)
    Path("params.yaml").write_text(json.dumps({"rebalancing": entries}))
    return of


EXPERT, LAYERS = {"source": "data/predictions/audio.parquet"}, {"source": "data/embeddings/audio"}


def test_one_expert_has_several_rows_each_under_its_own_name(tmp_path, monkeypatch):
    entries = {
        "with_prior": {"reads": EXPERT, "prior": "none"},
        "without": {"reads": EXPERT},
        "by_plda": {"reads": EXPERT, "method": "plda"},
    }
    project(tmp_path, monkeypatch, entries)
    tables = {}
    for name in entries:
        rebalancing.main(name)
        tables[name] = predictions.read(Path(f"data/rebalanced/{name}.parquet"))
        assert tables[name].expert == name == model.read(Path(f"models/rebalancing/{name}")).name
        assert Path(f"metrics/plots/layers/{name}.csv").read_text() == "layer,macro_f1,ua\n"
        assert json.loads(Path(f"metrics/rebalancing/{name}.json").read_text()) == {}
    ratio = tables["with_prior"].posterior / tables["without"].posterior
    weights = ratio / ratio[:, :1]  # a prior and nothing else lies between the two
    np.testing.assert_allclose(weights, np.tile(weights[0], (120, 1)))
    assert not np.allclose(weights[0], 1)


def test_an_embedding_has_a_table_a_model_a_curve_and_metrics(tmp_path, monkeypatch, capsys):
    source = {"layers": "each", "average": "posteriors"}
    entry = {"reads": LAYERS, "source": source, "method": "plda", "calibration": "temperature"}
    of = project(tmp_path, monkeypatch, {"layers": entry})
    rebalancing.main("layers")
    fitted = model.read(Path("models/rebalancing/layers"))
    table = model.apply(fitted, read(fitted.settings, of, "layers"))
    stored = predictions.read(Path("data/rebalanced/layers.parquet"))
    np.testing.assert_array_equal(table.posterior, stored.posterior)
    assert (stored.fitted_on, stored.chosen_on) == (("dev", "train"), ())
    lines = Path("metrics/plots/layers/layers.csv").read_text().splitlines()
    assert lines[0] == "layer,macro_f1,ua" and [line.split(",")[0] for line in lines[1:]] == ["0", "2", "3"]
    metrics = json.loads(Path("metrics/rebalancing/layers.json").read_text())
    assert set(metrics) == {"best_on_dev", "temperature"} and metrics["best_on_dev"]["macro_f1"]["layer"] == 3
    assert metrics["temperature"] == pytest.approx(fitted.temperature, abs=1e-6)
    assert "rebalancing.layers.temperature: " in capsys.readouterr().out


def test_layers_by_number_have_no_curve(tmp_path, monkeypatch):
    entry = {"reads": LAYERS, "source": {"layers": [2, 3]}, "method": "plda"}
    project(tmp_path, monkeypatch, {"two": entry})
    rebalancing.main("two")
    assert Path("metrics/plots/layers/two.csv").read_text() == "layer,macro_f1,ua\n"
