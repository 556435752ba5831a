"""Folders of checkpoints with one thing wrong in them: one sentence each, and odd but sound ones are taken."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, LlamaConfig

from pipeline_lib.encoders import contents
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.encoder import EncoderSettings
from tests.encoders.checkpoints import TEXT

CPU = torch.device("cpu")


def copy(checkpoint, tmp_path, name) -> Path:
    return shutil.copytree(checkpoint(name), tmp_path / name)


def load(folder, **settings):
    loader = load_text if Path(folder).name in TEXT else load_speech
    return loader(EncoderSettings(checkpoint=str(folder), **settings), CPU)


def refusal(folder, **settings) -> str:
    with pytest.raises(InputError) as refused:
        load(folder, **settings)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    return str(refused.value)


def edited(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def with_pad(folder: Path, *, special: bool = True, around: bool = False) -> None:
    """Add a token behind the model's table, as mirrors of LLaMA 2 do with a padding token."""
    values = json.loads((folder / "tokenizer.json").read_text())
    added = {"id": 20, "content": "<extra>", "single_word": False, "lstrip": False, "rstrip": False}
    values["added_tokens"].append({**added, "normalized": False, "special": special})
    if around:
        template = {"id": "<extra>", "type_id": 0}
        values["post_processor"]["single"].append({"SpecialToken": template})
        values["post_processor"]["special_tokens"]["<extra>"] = {"id": "<extra>", "ids": [20], "tokens": ["<extra>"]}
    (folder / "tokenizer.json").write_text(json.dumps(values))
    if special:
        edited(folder / "tokenizer_config.json", pad_token="<extra>")


def test_an_added_padding_token_is_taken_and_never_reaches_the_model(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "llama")
    texts = ["i am <extra> happy", "", "we"]
    plain = load(folder)
    with_pad(folder)
    encoder = load(folder)
    inputs = encoder.prepare(texts)
    assert int(inputs["input_ids"].max()) < encoder.model.config.vocab_size == 20
    assert encoder.prepare.padding == 2  # the end of sequence, as where there is no padding token
    expected = plain.prepare(["we i am", "we"])
    result = encoder.prepare(["we i am", "we"])
    assert all(torch.equal(result[key], expected[key]) for key in expected)
    assert torch.isfinite(encoder(**inputs).layers[-1]).all()


def test_tokens_that_a_text_can_hold_and_the_model_does_not_have_are_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "llama")
    with_pad(folder, special=False)
    assert "its tokenizer has 21 tokens, its model 20" in refusal(folder)
    shutil.rmtree(folder)
    folder = copy(checkpoint, tmp_path, "llama")
    with_pad(folder, around=True)
    assert "puts '<extra>' around every text" in refusal(folder)


@pytest.mark.parametrize("name", list(TEXT))
def test_a_text_checkpoint_without_its_tokenizer_is_refused(name, checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, name)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert "has no tokenizer, expected one of ['tokenizer.json'" in refusal(folder)


def test_an_empty_and_a_cut_vocabulary_are_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "bert")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(15))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    assert load(folder).prepare(["word3"])["input_ids"].tolist() == [[2, 8, 3]]
    (folder / "vocab.txt").write_text("\n".join(words[:12]) + "\n")
    assert "its tokenizer has 12 tokens, its model 20 (is a file of the tokenizer cut short?)" in refusal(folder)
    (folder / "vocab.txt").write_text("\n".join(words[:5]) + "\n")
    assert "has a tokenizer of 5 special tokens and no word" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["hubert_group", "whisper", "llama"])
def test_weights_that_are_not_finite_are_refused(name, value, checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, name)
    tensors = load_file(folder / "model.safetensors")
    key = (
        next(
            tensor
            for tensor in tensors
            if "layers.1" in tensor and tensor.endswith("proj.weight") and "encoder" in tensor
        )
        if name == "whisper"
        else sorted(tensor for tensor in tensors if "layers.1" in tensor)[0]
    )
    tensors[key].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "holds NaN or infinity, expected finite weights" in refusal(folder)


def test_four_bit_weights_that_are_not_finite_are_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "llama")
    sizes = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1}
    config = LlamaConfig.from_pretrained(folder, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    load(folder, weights="nf4")
    tensors = load_file(folder / "model.safetensors")
    tensors["layers.0.mlp.up_proj.weight"][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "layers.0.mlp.up_proj.weight holds NaN or infinity" in refusal(folder, weights="nf4")


PREPROCESSORS = [
    ("[]", "holds a list, expected an object of keys and values"),
    ('{"sampling_rate": 16000, "str', "is not JSON"),
    ("", "is not JSON"),
    ("version https://git-lfs.github.com/spec/v1", "is not JSON"),
    ("\xff", "is not JSON"),
    ('{"stride": 0}', "stride is 0, expected a whole number from 1"),
    ('{"stride": "2"}', "stride is '2', expected a whole number from 1"),
    ('{"stride": true}', "stride is True, expected a whole number from 1"),
    ('{"num_mel_bins": 1e999}', "num_mel_bins is inf, expected a whole number from 1"),
    ('{"num_mel_bins": -80}', "num_mel_bins is -80, expected a whole number from 1"),
    ('{"sampling_rate": {}}', "sampling_rate is {}, expected a whole number from 1"),
    ('{"sampling_rate": 8000}', "takes speech at 8000 Hz"),
    ('{"num_mel_bins": 40, "stride": 2}', "its preprocessor makes 40 bands x stride 2"),
    ("[" * 100_000, "is not JSON"),
]


@pytest.mark.parametrize(("text", "expected"), PREPROCESSORS, ids=range(len(PREPROCESSORS)))
def test_a_malformed_preprocessor_is_refused(text, expected, checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "w2v_bert")
    (folder / "preprocessor_config.json").write_text(text, encoding="latin-1")
    assert expected in refusal(folder, pretrained=False)


def test_a_word_for_a_truth_value_and_a_processor_that_is_a_list_are_refused(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "hubert_group")
    (folder / "preprocessor_config.json").write_text('{"do_normalize": "false"}')
    assert "do_normalize is 'false', expected true or false" in refusal(folder, pretrained=False)
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text('{"feature_extractor": []}')
    assert "feature_extractor is a list, expected an object" in refusal(folder, pretrained=False)


CONFIGURATIONS = [
    ("hubert_group", {"conv_stride": [5, 2, 2, 2, 2, 2, 0]}, "has conv_stride 0, expected a whole number from 1"),
    ("hubert_group", {"conv_kernel": [10, 3, 3]}, "conv_dim"),
    ("hubert_group", {"conv_dim": []}, "conv_dim"),
    ("hubert_group", {"num_hidden_layers": 0}, "has num_hidden_layers 0, expected a whole number from 1"),
    ("hubert_group", {"num_conv_pos_embedding_groups": 5}, "expected a multiple"),
    ("w2v_bert", {"feature_projection_input_dim": -160}, "has feature_projection_input_dim -160"),
    ("w2v_bert", {"hidden_size": 10**12}, "has hidden_size 1000000000000, expected a whole number from 1"),
    ("whisper", {"num_mel_bins": 0}, "has num_mel_bins 0"),
    ("whisper", {"encoder_layers": 1_001}, "has encoder_layers 1001, expected a whole number from 1 to 1,000"),
    ("llama", {"intermediate_size": 10_000_000, "hidden_size": 1_000_000}, "is a model of 360,0"),
    ("whisper", {"encoder_attention_heads": 5}, "expected a multiple"),
    ("bert", {"num_attention_heads": 5}, "expected a multiple"),
    ("llama", {"num_key_value_heads": 3}, "expected a multiple"),
    ("roberta", {"pad_token_id": 30}, "has pad_token_id 30, behind which positions begin"),
    ("roberta", {"pad_token_id": -1}, "has pad_token_id -1, behind which positions begin"),
    ("vggish", {"channels": [4, 6]}, "2 numbers in channels, expected 4"),
]


@pytest.mark.parametrize(("name", "values", "expected"), CONFIGURATIONS)
def test_a_configuration_of_which_no_model_can_be_built_is_refused(name, values, expected, checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, name)
    edited(folder / "config.json", **values)
    assert expected in refusal(folder)
    assert expected in refusal(folder, pretrained=False)


def test_the_decoder_of_whisper_is_never_built(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "whisper")
    plain = load(folder).model.state_dict()
    edited(folder / "config.json", decoder_layers=10**18)
    assert all(torch.equal(value, plain[name]) for name, value in load(folder).model.state_dict().items())


@pytest.mark.parametrize("text", ["[]", "null", "{", "", "[" * 100_000, '{"model_type": ["bert"]}', '{"a": 1}'])
def test_a_file_that_is_no_configuration_is_refused(text, checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "bert")
    (folder / "config.json").write_text(text)
    refusal(folder)


VALUES = [None, 0, -1, 1.5, 10**18, float("inf"), "", "3", [], [0], {}, True]


def mutations(folder: Path, count: int | None) -> list[tuple[str, object]]:
    """Return every key of config.json with every value, or a seeded part of them."""
    keys = json.loads((folder / "config.json").read_text())
    every = [(key, value) for key in sorted(keys) for value in VALUES]
    return every if count is None else random.Random(1).sample(every, count)


def mutated(folder: Path, count: int | None) -> None:
    original = (folder / "config.json").read_text()
    for key, value in mutations(folder, count):
        (folder / "config.json").write_text(json.dumps({**json.loads(original), key: value}))
        try:
            load(folder, pretrained=False)
        except InputError as error:
            assert "\n" not in str(error), (key, value, error)


@pytest.mark.parametrize("name", ["hubert_group", "w2v_bert", "whisper", "bert", "llama"])
def test_a_changed_value_of_the_configuration_loads_or_is_refused_in_one_sentence(name, checkpoint, tmp_path):
    mutated(copy(checkpoint, tmp_path, name), 12)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", ["hubert_group", "w2v_bert", "whisper", "vggish", "bert", "roberta", "llama"])
def test_every_changed_value_of_the_configuration(name, checkpoint, tmp_path):
    mutated(copy(checkpoint, tmp_path, name), None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 5_000, "which has 5,000 letters, expected at most 1,000"),
        ("org/" + "é" * 130, "in which a name has 260 bytes, expected at most 255"),
        ("org/mo\x00del", "which holds control characters"),
        ("org/model\n", "which holds control characters"),
        ("org/\x1b[31mmodel", "which holds control characters"),
        ("org/\ud800", "unable to parse raw data as a unicode string"),
    ],
)
def test_what_can_be_no_name_is_refused(name, expected):
    with pytest.raises(ParameterError) as refused:
        EncoderSettings.parse({"checkpoint": name}, "embedding.audio.encoder")
    assert expected in str(refused.value) and len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["Modelle/größe mit Leerzeichen", "模型/wav2vec", "org/model-1.0_x", "."])
def test_names_of_every_language_are_taken(name):
    assert EncoderSettings.parse({"checkpoint": name}, "embedding.audio.encoder").checkpoint == name


def test_json_of_unreasonable_length_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "LONGEST_JSON", 10)
    (tmp_path / "config.json").write_text(" " * 11)
    with pytest.raises(InputError, match="has 11 bytes, expected at most 10 of JSON"):
        contents.json_object(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["llama", "bert", "hubert_group"])
def test_weights_of_more_blocks_than_the_configuration_names_are_refused(checkpoint, tmp_path, name):
    folder = copy(checkpoint, tmp_path, name)
    count = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    assert len(load(folder, layers_kept=count - 1).model.state_dict())  # left out on request
    edited(folder / "config.json", num_hidden_layers=count - 1)
    assert f"holds weights of {count} blocks and its config.json names {count - 1}" in refusal(folder)


def test_a_pointer_of_git_lfs_in_the_place_of_weights_is_named(checkpoint, tmp_path):
    folder = copy(checkpoint, tmp_path, "llama")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "model.safetensors is a pointer of Git LFS, expected weights; run 'git lfs pull'" in refusal(folder)
