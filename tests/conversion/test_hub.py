"""Converted .bin checkpoints against transformers' own loading of the .bin files, and what is refused."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, WhisperConfig, WhisperForConditionalGeneration

from pipeline_lib.conversion import hub
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings
from tests.conversion import bins
from tests.encoders import checkpoints

CPU = torch.device("cpu")
NAMES = ["hubert_group", "wav2vec2_layer", "wavlm_group", "w2v_bert", "bert", "roberta", "llama"]


def refused(checkpoint: Path, out: Path, **options) -> str:
    with pytest.raises(InputError) as refusal:
        hub.convert(str(checkpoint), out, **options)
    assert "\n" not in str(refusal.value) and not out.exists()
    assert not list(out.parent.glob(f".{out.name}.*"))
    return str(refusal.value)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a small BERT in .bin files; tests copy it."""
    return bins.write(tmp_path_factory.mktemp("original"), "bert")


@pytest.fixture
def checkpoint(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "bert")


@pytest.mark.parametrize("name", NAMES)
def test_the_converted_encoder_is_what_transformers_makes_of_the_bin_file(name, tmp_path):
    checkpoint, out = bins.write(tmp_path, name), tmp_path / "out"
    names = list(torch.load(checkpoint / "pytorch_model.bin", weights_only=True))
    sentences = hub.convert(str(checkpoint), out)
    assert "equal in every bit" in sentences[-2] and "3 blocks of width 32" in sentences[-1]
    theirs = AutoModel.from_pretrained(checkpoint, use_safetensors=False).state_dict()
    kept = load_file(out / "model.safetensors")
    assert kept.keys() <= theirs.keys() and all(torch.equal(kept[key], theirs[key]) for key in kept)
    assert {key for key in theirs.keys() - kept.keys() if not key.startswith("pooler.")} == set()
    assert any(name.endswith("weight_g") for name in names) == any("original0" in name for name in kept)
    loader = load_text if name in checkpoints.TEXT else load_speech
    loader(EncoderSettings(checkpoint=str(out)), CPU)


def test_names_of_a_published_bert_are_brought_up_to_date(checkpoint, tmp_path):
    tensors = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    assert {"bert.embeddings.LayerNorm.gamma", "bert.encoder.layer.0.output.LayerNorm.beta"} <= tensors.keys()
    sentences = hub.convert(str(checkpoint), tmp_path / "out")
    kept = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(kept["embeddings.LayerNorm.weight"], tensors["bert.embeddings.LayerNorm.gamma"])
    # two norms a block and the embeddings' own, 16 weights and biases a block, three tables
    assert len(kept) == 3 * 16 + 2 + 3 and f"kept {len(kept)} tensors" in sentences[0]
    assert "left out the head of pretraining: 2 tensors" in sentences
    assert "left out the pooler: 2 tensors" in sentences
    assert "left out the layer of distillation: 1 tensors" in sentences


def test_weight_normalisation_of_before_torch_two_becomes_parametrisations(tmp_path):
    checkpoint = bins.write(tmp_path, "hubert_group")
    tensors = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    hub.convert(str(checkpoint), tmp_path / "out")
    encoder = load_speech(EncoderSettings(checkpoint=str(tmp_path / "out")), CPU)
    g = tensors["hubert.encoder.pos_conv_embed.conv.weight_g"]
    v = tensors["hubert.encoder.pos_conv_embed.conv.weight_v"]
    # w = g v / |v|, the norm taken over all but the last axis (Salimans and Kingma 2016, dim=2 in HuBERT)
    expected = g * v / v.square().sum(dim=(0, 1), keepdim=True).sqrt()
    torch.testing.assert_close(encoder.model.encoder.pos_conv_embed.conv.weight, expected)


def test_the_mask_of_spec_augment_is_kept_and_may_be_missing(tmp_path):
    checkpoint = bins.write(tmp_path, "hubert_group")
    hub.convert(str(checkpoint), tmp_path / "with")
    tensors = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    mask = tensors.pop("hubert.masked_spec_embed")
    assert torch.equal(load_file(tmp_path / "with" / "model.safetensors")["masked_spec_embed"], mask)
    bins.save(checkpoint, tensors)
    hub.convert(str(checkpoint), tmp_path / "without")
    assert "masked_spec_embed" not in load_file(tmp_path / "without" / "model.safetensors")
    load_speech(EncoderSettings(checkpoint=str(tmp_path / "without")), CPU)


@pytest.mark.parametrize(("shards", "legacy"), [(3, False), (1, True)])
def test_shards_and_the_old_file_format_give_the_same_weights(checkpoint, tmp_path, shards, legacy):
    hub.convert(str(checkpoint), tmp_path / "one")
    tensors = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    (checkpoint / "pytorch_model.bin").unlink()
    bins.save(checkpoint, tensors, shards, legacy=legacy)
    hub.convert(str(checkpoint), tmp_path / "other")
    paths = sorted((tmp_path / "other").glob("*.safetensors"))
    assert len(paths) == shards
    weights = {key: value for path in paths for key, value in load_file(path).items()}
    expected = load_file(tmp_path / "one" / "model.safetensors")
    assert weights.keys() == expected.keys() and all(torch.equal(weights[key], expected[key]) for key in expected)
    load_text(EncoderSettings(checkpoint=str(tmp_path / "other")), CPU)


def test_whispers_tied_output_layer_is_written_once(tmp_path):
    checkpoint, out = tmp_path / "whisper", tmp_path / "out"
    torch.manual_seed(0)
    config: WhisperConfig = checkpoints.SPEECH["whisper"]
    model = WhisperForConditionalGeneration(config).eval()
    config.save_pretrained(checkpoint)
    tensors = model.state_dict()
    assert "proj_out.weight" in tensors
    bins.save(checkpoint, tensors)
    hub.convert(str(checkpoint), out)
    assert "proj_out.weight" not in load_file(out / "model.safetensors")
    again = WhisperForConditionalGeneration.from_pretrained(out).state_dict()
    assert all(torch.equal(again[key], value) for key, value in tensors.items())
    shutil.rmtree(out)
    bins.save(checkpoint, {**tensors, "proj_out.weight": tensors["proj_out.weight"] + 1})
    assert "'proj_out.weight' differs from 'model.decoder.embed_tokens.weight'" in refused(checkpoint, out)


def test_the_record_names_source_and_digests_and_the_same_input_gives_the_same_bytes(checkpoint, tmp_path):
    import hashlib

    for name in ("one", "two"):
        hub.convert(str(checkpoint), tmp_path / name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    record = json.loads(one["conversion.json"])
    assert (record["source"], record["revision"]) == (str(checkpoint), None)
    digest = hashlib.sha256((checkpoint / "pytorch_model.bin").read_bytes()).hexdigest()
    assert record["files"]["pytorch_model.bin"] == digest
    assert record["converted"]["model.safetensors"] == hashlib.sha256(one["model.safetensors"]).hexdigest()
    hub.convert(str(checkpoint), tmp_path / "one")  # an earlier conversion may be replaced


def test_only_known_files_are_copied(checkpoint, tmp_path):
    (checkpoint / "modeling_evil.py").write_text("raise SystemExit")
    (checkpoint / "tf_model.h5").write_bytes(b"x")
    hub.convert(str(checkpoint), tmp_path / "out")
    expected = {"config.json", "model.safetensors", "conversion.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


def test_an_old_configuration_without_an_architecture_is_given_one(checkpoint, tmp_path):
    values = json.loads((checkpoint / "config.json").read_text())
    del values["model_type"]
    (checkpoint / "config.json").write_text(json.dumps(values))
    assert "names no model_type; give it as --model-type" in refused(checkpoint, tmp_path / "out")
    hub.convert(str(checkpoint), tmp_path / "out", model_type="bert")
    assert load_text(EncoderSettings(checkpoint=str(tmp_path / "out")), CPU).n_layers == 3


class Runs:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "zip"])
def test_a_file_that_would_run_code_is_refused_without_running(checkpoint, tmp_path, protocol, wrapped):
    payload = {"bert.embeddings.word_embeddings.weight": Runs(tmp_path / "ran")}
    if wrapped:
        torch.save(payload, checkpoint / "pytorch_model.bin", pickle_protocol=protocol)
    else:
        (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(payload, protocol))
    assert "pytorch_model.bin" in refused(checkpoint, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def edit(checkpoint: Path, change) -> None:
    tensors = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    change(tensors)
    torch.save(tensors, checkpoint / "pytorch_model.bin")


GAMMA = "bert.embeddings.LayerNorm.gamma"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.pop(GAMMA), "lacks 1 tensors of the architecture in config.json, 'embeddings.LayerNorm.weight'"),
        (lambda t: t.update({"bert.evil": torch.ones(3)}), "holds 'bert.evil', expected only tensors of the"),
        (lambda t: t.update({GAMMA: torch.ones(31)}), "has shape (31,), expected (32,)"),
        (lambda t: t.update({GAMMA: torch.full((32,), float("nan"))}), "holds NaN or infinity"),
        (lambda t: t.update({GAMMA: torch.ones(32, dtype=torch.int64)}), "holds torch.int64, expected plain floating"),
        (lambda t: t.update({GAMMA: torch.ones(1).expand(32)}), "repeats a part of its numbers"),
        (lambda t: t.update({"embeddings.LayerNorm.weight": torch.ones(32)}), "two different tensors for"),
        (lambda t: t.update({GAMMA: "words"}), "holds no state dict"),
        (lambda t: t.clear(), "holds no state dict"),
    ],
)
def test_weights_of_another_model_or_damaged_ones_are_refused(checkpoint, tmp_path, change, expected):
    edit(checkpoint, change)
    assert expected in refused(checkpoint, tmp_path / "out")


def test_what_cannot_be_converted_is_refused_by_name(checkpoint, tmp_path):
    out = tmp_path / "out"
    whole = (checkpoint / "pytorch_model.bin").read_bytes()
    (checkpoint / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refused(checkpoint, out)
    (checkpoint / "pytorch_model.bin").rename(checkpoint / "weights.bin")
    assert "has neither pytorch_model.bin nor pytorch_model.bin.index.json" in refused(checkpoint, out)
    index = {"weight_map": {"a": "../weights.bin"}}
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert "expected .bin files of its own folder" in refused(checkpoint, out)
    (checkpoint / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "away.bin"}}))
    assert "lacks 1 shards that its index names, 'away.bin' first" in refused(checkpoint, out)
    (checkpoint / "model.safetensors").touch()
    assert "has safetensors already" in refused(checkpoint, out)
    (checkpoint / "config.json").write_text('{"model_type": "data2vec-audio"}')
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin.index.json").unlink()
    (checkpoint / "weights.bin").rename(checkpoint / "pytorch_model.bin")
    assert "is of a 'data2vec-audio' model" in refused(checkpoint, out)
    (checkpoint / "config.json").write_text("[]")
    assert "holds a list, expected an object" in refused(checkpoint, out)
    assert "is not a folder" in refused(tmp_path / "nothing", out)


def test_a_folder_of_something_else_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="exists and holds something else"):
        hub.convert(str(checkpoint), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_checkpoint_without_its_tokenizer_is_refused_before_it_is_in_place(checkpoint, tmp_path):
    for path in checkpoint.glob("tokenizer*"):
        path.unlink()
    assert f"{checkpoint} has no tokenizer" in refused(checkpoint, tmp_path / "out")


def test_the_encoders_refusal_names_a_command_that_converts(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(InputError) as refusal:
        load_text(EncoderSettings(checkpoint=str(checkpoint)), CPU)
    words = str(refusal.value).partition("convert it with '")[2].partition("'")[0].split()
    assert words[:3] == ["ser", "convert", "hub"]
    monkeypatch.chdir(tmp_path)
    hub.convert(words[3], Path(words[4]))
    assert words[4] == "models/bert" and load_text(EncoderSettings(checkpoint=words[4]), CPU).n_layers == 3
