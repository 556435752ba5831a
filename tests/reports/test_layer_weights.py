"""Weights of layers read back from an expert on disk."""

import csv
import json

import numpy as np
import pytest
from safetensors.numpy import save

from pipeline_lib.errors import InputError
from pipeline_lib.experts.settings import FORMAT_VERSION
from pipeline_lib.reports import layer_weights
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import manifest
from tests.scoring.corpora import drawn_manifest

SCORES = np.log(np.array([1.0, 2.0, 5.0], dtype=np.float32))  # softmax: 1/8, 2/8, 5/8


def expert(folder, tensors, version=FORMAT_VERSION):
    folder.mkdir(parents=True)
    content = save(tensors)
    (folder / "head.safetensors").write_bytes(content)
    record = {"format_version": version}
    (folder / "settings.json").write_text(checksummed_json.dumps(record, {"head.safetensors": content}))
    return folder


def test_the_weights_are_the_scores_softmax(tmp_path):
    weights = layer_weights.weights_of(
        expert(tmp_path / "a", {"layer_weights.audio.scores": SCORES, "head.bias": SCORES})
    )
    assert list(weights) == ["audio"]
    np.testing.assert_allclose(weights["audio"], [0.125, 0.25, 0.625], rtol=1e-6)


def test_a_joint_expert_has_weights_of_each_branch(tmp_path):
    tensors = {"layer_weights.audio.scores": SCORES, "layer_weights.text.scores": np.zeros(2, np.float32)}
    weights = layer_weights.weights_of(expert(tmp_path / "joint", tensors))
    assert list(weights) == ["audio", "text"]
    np.testing.assert_allclose(weights["text"], [0.5, 0.5])


def test_they_are_what_the_network_multiplies_with(tmp_path):
    torch = pytest.importorskip("torch")
    from pipeline_lib.networks.layer_weights import LayerWeights

    network = LayerWeights(3)
    with torch.no_grad():
        network.scores.copy_(torch.tensor([0.3, -1.0, 2.0]))
    state = {f"layer_weights.audio.{name}": values.numpy() for name, values in network.state_dict().items()}
    weights = layer_weights.weights_of(expert(tmp_path / "a", state))["audio"]
    np.testing.assert_allclose(weights, network.weights().detach().numpy(), rtol=1e-6)


def test_an_expert_of_the_last_layer_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no weights of layers; expected an expert with layers: weighted"):
        layer_weights.weights_of(expert(tmp_path / "a", {"head.bias": SCORES}))


def test_an_expert_that_is_not_there_and_one_that_was_changed_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; the stage finetuning writes it"):
        layer_weights.weights_of(tmp_path / "nobody")
    folder = expert(tmp_path / "a", {"layer_weights.audio.scores": SCORES})
    (folder / "head.safetensors").write_bytes(save({"layer_weights.audio.scores": -SCORES}))
    with pytest.raises(InputError, match="damaged, or replaced|replaced|damaged"):
        layer_weights.weights_of(folder)


def test_the_command_writes_a_table_an_expert_and_a_picture(tmp_path, capsys):
    manifest.write(tmp_path / "manifest.parquet", drawn_manifest())
    expert(tmp_path / "models/arousal", {"layer_weights.audio.scores": -SCORES})
    expert(tmp_path / "models/valence", {"layer_weights.audio.scores": SCORES})
    paths = (tmp_path / "models", tmp_path / "manifest.parquet", tmp_path / "metrics")
    layer_weights.write_figure(["arousal", "valence"], *paths)
    rows = list(csv.DictReader((tmp_path / "metrics/plots/layer_weights/valence.csv").read_text().splitlines()))
    assert [row["layer"] for row in rows] == ["0", "1", "2"]
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1, abs=1e-5)
    assert "valence: most of layers 2 (0.625), 1 (0.250), 0 (0.125); all began with 0.333" in capsys.readouterr().out
    assert json.loads((tmp_path / "metrics/figures/layer_weights.json").read_text())["notice"] == "drawn numbers"
    assert (tmp_path / "metrics/figures/layer_weights.png").read_bytes().startswith(b"\x89PNG")
