"""VGGish's converter against the published names and shapes, and against its convolutions written out in NumPy."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.conversion import vggish
from pipeline_lib.conversion.vggish import convert, statistics
from pipeline_lib.encoders.load import load_speech
from pipeline_lib.encoders.vggish import VggishConfig, VggishModel
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings
from tests.conversion import vggish_arithmetic as published

CPU = torch.device("cpu")


def tensorflow(state, tmp_path: Path) -> Path:
    np.savez(tmp_path / "vggish.npz", **state)
    return tmp_path / "vggish.npz"


def port(state, tmp_path: Path) -> Path:
    tensors = {name: torch.from_numpy(array) for name, array in published.port(state).items()}
    torch.save(tensors, tmp_path / "vggish-10086976.pth", _use_new_zipfile_serialization=False)  # of 2019: the old way
    return tmp_path / "vggish-10086976.pth"


EITHER = pytest.mark.parametrize("saved", [tensorflow, port])


def loaded(folder: Path):
    return load_speech(EncoderSettings(checkpoint=str(folder)), CPU)


def refusal(path: Path, tmp_path: Path, **options) -> str:
    with pytest.raises(InputError) as refused:
        convert(path, tmp_path / "vggish", **options)
    assert not (tmp_path / "vggish").exists() and "\n" not in str(refused.value)
    return str(refused.value)


@EITHER
def test_vectors_are_those_of_the_convolutions_written_out(saved, tmp_path):
    state = published.drawn()
    convert(saved(state, tmp_path), tmp_path / "vggish", final_relu=False)
    encoder = loaded(tmp_path / "vggish")
    noise = np.random.default_rng(1).standard_normal(40_000).astype(np.float32) * 0.1
    inputs = encoder.prepare([noise])
    patches = inputs["input_features"].numpy()
    with torch.no_grad():
        made = encoder(**inputs).layers[0][0].numpy()
    expected = published.vectors(state, patches)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    # the same shapes, the wrong way round: had the converter or the model flattened so, the line above would fail
    wrong = published.vectors(state, patches, channels_first=True)
    assert np.linalg.norm(wrong - expected) > 0.1 * np.linalg.norm(expected)
    turned = {name: np.swapaxes(array, 0, 1) if array.ndim == 4 else array for name, array in state.items()}
    assert np.linalg.norm(published.vectors(turned, patches) - expected) > 0.01 * np.linalg.norm(expected)


@EITHER
def test_the_folder_loads_as_any_encoder_with_no_weight_missing_or_left_over(saved, tmp_path):
    state = published.drawn()
    convert(saved(state, tmp_path), tmp_path / "vggish")
    _, report = VggishModel.from_pretrained(tmp_path / "vggish", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    encoder = loaded(tmp_path / "vggish")
    assert (encoder.width, encoder.n_layers) == (published.WIDTH, 0)
    assert sum(weight.numel() for weight in encoder.parameters()) == sum(array.size for array in state.values())
    made = encoder(**encoder.prepare([np.sin(np.arange(30_000), dtype=np.float32)])).layers[0]
    assert (made >= 0).all() and (made > 0).any()  # the last ReLU is on by default


def test_both_files_give_the_same_bytes(tmp_path):
    state, digests = published.drawn(), []
    for i, saved in enumerate((tensorflow, port)):
        convert(saved(state, tmp_path), tmp_path / str(i))
        files = sorted((tmp_path / str(i)).iterdir())
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
        assert [file.name for file in files] == ["config.json", "model.safetensors"]
        assert len({file.stat().st_mode for file in files}) == 1
    assert digests[0] == digests[1]


def test_names_as_tensorflow_prints_them_are_read_too(tmp_path):
    state = {f"{name}:0": array for name, array in published.drawn().items()}
    convert(tensorflow(state, tmp_path), tmp_path / "vggish")
    assert loaded(tmp_path / "vggish").width == published.WIDTH


def test_the_published_shapes_are_the_models():
    sizes = {3: 64, 4: 128, 5: 256, 7: 512, 11: 4096, 8: 128}
    expected = {}
    for ours, theirs in published.PORT.items():
        shape = published.TENSORFLOW[theirs]
        full = [sizes.get(n, n) for n in shape]
        if theirs == "vggish/fc1/fc1_1/weights":
            full[0] = 12_288
        if len(shape) == 4:
            full = [full[3], full[2], 3, 3]
        expected[ours.replace("features", "feature_extractor")] = tuple(full if len(shape) != 2 else full[::-1])
    with torch.device("meta"):
        made = VggishModel(VggishConfig()).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in made.items()} == expected


def test_the_answer_to_the_test_sound_is_the_arithmetics_and_other_weights_are_told_from_the_published(tmp_path):
    state = published.drawn()
    sentences = convert(tensorflow(state, tmp_path), tmp_path / "vggish")
    patches = loaded(tmp_path / "vggish").prepare([np.sin(2 * np.pi * np.arange(48_000) / 16)])["input_features"]
    assert patches.shape == (3, 96, 64)  # as Google's own test has it
    expected = published.vectors(state, patches.numpy())
    assert f"mean {expected.mean():.6f} and deviation {expected.std():.3f}" in sentences[1]
    assert "these are NOT the published weights" in sentences[1]


def test_weights_that_answer_as_published_are_called_the_same(monkeypatch, tmp_path):
    path = tensorflow(published.drawn(), tmp_path)
    monkeypatch.setattr(vggish, "statistics", lambda config, tensors: (0.00069, 0.35))
    assert convert(path, tmp_path / "vggish")[1].endswith("0.000657 and 0.343: the same")
    monkeypatch.setattr(vggish, "statistics", lambda config, tensors: (0.00069, 0.38))
    assert "NOT" in convert(path, tmp_path / "vggish")[1]


def test_the_answer_is_taken_before_the_relu(tmp_path):
    kept = vggish.weights(tensorflow(published.drawn(), tmp_path))
    sizes = {"channels": [3, 4, 5, 7], "fully_connected_size": 11, "hidden_size": 8}
    bare, ending = (statistics(VggishConfig(**sizes, final_relu=relu), kept) for relu in (False, True))
    assert bare[0] < ending[0]


def test_postprocessing_is_the_published_pca_and_eight_bits(tmp_path):
    state, rng = published.drawn(), np.random.default_rng(2)
    matrix = rng.standard_normal((published.WIDTH, published.WIDTH)).astype(np.float32)
    means = rng.standard_normal((published.WIDTH, 1)).astype(np.float32) * 0.1
    np.savez(tmp_path / "pca.npz", pca_eigen_vectors=matrix, pca_means=means)
    convert(tensorflow(state, tmp_path), tmp_path / "vggish", tmp_path / "pca.npz")
    encoder = loaded(tmp_path / "vggish").requires_grad_(False)
    inputs = encoder.prepare([np.random.default_rng(3).standard_normal(50_000).astype(np.float32) * 0.1])
    made = encoder(**inputs).layers[0][0].numpy()
    vectors = np.maximum(published.vectors(state, inputs["input_features"].numpy()), 0)
    whitened = np.clip((matrix @ (vectors.T - means)).T, -2, 2)
    np.testing.assert_array_equal(made, np.round((whitened + 2) * 255 / 4))
    assert len(np.unique(made)) > 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vggish/fc2/weights": None}, "lacks 1 tensors of VGGish's TensorFlow variables, 'vggish/fc2/weights' first"),
        ({"vggish/fc2/weights/Adam": np.zeros(2)}, "has 1 tensors beside those of .* 'vggish/fc2/weights/Adam' first"),
        ({"vggish/conv2/biases": np.zeros(9, np.float32)}, r"'feature_extractor.3.bias' has, .* shape \(9,\)"),
        (
            {"vggish/fc1/fc1_1/weights": np.zeros((167, 11), np.float32)},
            r"\(11, 167\), expected \(11, 168\) by the other",
        ),
        ({"vggish/conv1/weights": np.full((3, 3, 1, 3), np.nan, np.float32)}, "a number that is not finite"),
        (
            {"vggish/fc2/biases": np.zeros(8, np.int64)},
            "'vggish/fc2/biases' holds torch.int64, expected floating point",
        ),
        ({"vggish/fc2/biases": np.array([{}] * 8)}, "cannot be read: Object arrays cannot be loaded"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_vggish_is_refused(change, expected, tmp_path):
    state = {name: array for name, array in (published.drawn() | change).items() if array is not None}
    with pytest.raises(InputError, match=expected):
        convert(tensorflow(state, tmp_path), tmp_path / "vggish")
    assert not (tmp_path / "vggish").exists()


def test_files_that_cannot_be_read_are_refused(tmp_path):
    assert "does not exist, expected an .npz file" in refusal(tmp_path / "no.npz", tmp_path)
    assert "vggish.npz or the torch port's" in refusal(tmp_path / "no.pth", tmp_path)
    whole = tensorflow(published.drawn(), tmp_path).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refusal(tmp_path / "cut.npz", tmp_path)
    torch.save({"features.0.weight": argparse.Namespace(a=1)}, tmp_path / "object.pth")
    assert "argparse.Namespace, which is never loaded" in refusal(tmp_path / "object.pth", tmp_path)
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "part.pth")
    assert "lacks 17 tensors of the torch port of VGGish" in refusal(tmp_path / "part.pth", tmp_path)


def test_a_pca_of_something_else_is_refused(tmp_path):
    path = tensorflow(published.drawn(), tmp_path)
    assert "expected ['pca_eigen_vectors', 'pca_means'] as in the published PCA" in refusal(path, tmp_path, pca=path)
    np.savez(tmp_path / "pca.npz", pca_eigen_vectors=np.eye(5), pca_means=np.zeros(5))
    assert "shapes (5, 5) and (5,), expected the vectors' width 8" in refusal(path, tmp_path, pca=tmp_path / "pca.npz")


def test_a_folder_with_something_else_is_left_alone_and_an_earlier_conversion_replaced(tmp_path):
    path, out = tensorflow(published.drawn(), tmp_path), tmp_path / "vggish"
    out.mkdir()
    (out / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(InputError, match="exists and holds something else"):
        convert(path, out)
    (out / "config.json").write_text('{"model_type": "vggish"}')
    convert(path, out)
    assert json.loads((out / "config.json").read_text())["channels"] == [3, 4, 5, 7]
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_command_prints_what_it_did(tmp_path):
    path = tensorflow(published.drawn(), tmp_path)
    out = tmp_path / "vggish"
    done = CliRunner().invoke(app, ["convert", "vggish", str(path), str(out), "--no-final-relu"])
    assert done.exit_code == 0
    assert done.stdout.startswith("kept 18 tensors (") and "test sound" in done.stdout
    assert json.loads((out / "config.json").read_text())["final_relu"] is False
