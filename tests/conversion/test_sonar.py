"""SONAR's converter against the published names and shapes, and against its Conformer written out by hand."""

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.conversion.sonar import convert
from pipeline_lib.encoders.load import load_speech
from pipeline_lib.encoders.sonar import SonarSpeechConfig, SonarSpeechModel
from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, LoraSettings
from tests.conversion import arithmetic, published

CPU = torch.device("cpu")
DRAWN = published.drawn(published.fairseq2())
FEED_FORWARD = {".layer_norm": "_layer_norm", ".w_1": ".inner_proj", ".w_2": ".output_proj"}
ATTENTION = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "output_proj", "pos": "sdpa.r_proj"}
EITHER = pytest.mark.parametrize("names", [published.fairseq, published.fairseq2], ids=["fairseq", "fairseq2"])


def saved(state, tmp_path: Path, **options) -> Path:
    path = tmp_path / "spenc.eng.pt"
    torch.save({"model": state}, path, **options)
    return path


def refusal(state, tmp_path: Path) -> str:
    with pytest.raises(InputError) as refused:
        convert(saved(state, tmp_path), tmp_path / "sonar")
    assert not (tmp_path / "sonar").exists()
    assert "\n" not in str(refused.value)
    return str(refused.value)


@EITHER
def test_the_folder_loads_as_any_encoder_with_no_weight_missing_or_left_over(names, tmp_path):
    state = published.drawn(names())
    convert(saved(state, tmp_path), tmp_path / "sonar")
    _, report = SonarSpeechModel.from_pretrained(tmp_path / "sonar", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    encoder = load_speech(EncoderSettings(checkpoint=str(tmp_path / "sonar")), CPU)
    assert (encoder.width, encoder.n_layers, encoder.frame_rate_hz) == (published.WIDTH, published.BLOCKS, 50.0)
    assert encoder.model.config.num_attention_heads == published.HEADS
    left_out = ("decoder.", "encoder_pooler.", "encoder.w2v_model.mask_emb")
    kept = sum(tensor.numel() for name, tensor in state.items() if not name.startswith(left_out))
    assert sum(tensor.numel() for tensor in encoder.model.state_dict().values()) == kept


def test_every_layer_equals_the_conformer_written_out(tmp_path):
    state = published.drawn(published.fairseq2())
    convert(saved(state, tmp_path), tmp_path / "sonar")
    encoder = load_speech(EncoderSettings(checkpoint=str(tmp_path / "sonar")), CPU)
    noise = np.random.default_rng(3).standard_normal(6_000).astype(np.float32) * 0.1
    inputs = encoder.prepare([noise])
    expected = arithmetic.layers(state, inputs["input_features"][0].numpy(), published.HEADS)
    with torch.no_grad():
        result = encoder(**inputs).layers
    assert len(result) == len(expected) == published.BLOCKS + 1
    for mine, other in zip(result, expected, strict=True):
        np.testing.assert_allclose(mine[0].numpy(), other, rtol=1e-5, atol=1e-5)


def test_both_generations_of_names_give_the_same_bytes(tmp_path):
    # fairseq's own names, renamed here by hand to fairseq2's: a tensor a name, in the order of both lists
    old = published.drawn(published.fairseq())
    part = {
        "layer_norm.": "encoder_frontend.post_extract_layer_norm.",
        "post_extract_proj.": "encoder_frontend.model_dim_proj.",
        "encoder.layer_norm.": "layer_norm.",
    }
    inside = {
        **{f"ffn{i}{a}": f"ffn{i}{b}" for i in (1, 2) for a, b in FEED_FORWARD.items()},
        **{f"self_attn.linear_{a}": f"self_attn.{b}" for a, b in ATTENTION.items()},
        "self_attn.pos_bias_u": "self_attn.sdpa.u_bias",
        "self_attn.pos_bias_v": "self_attn.sdpa.v_bias",
        "conv_module.layer_norm": "conv_layer_norm",
        "conv_module.": "conv.",
        "final_layer_norm": "layer_norm",
    }
    new = {}
    for name, value in old.items():
        rest = name.removeprefix("encoder.w2v_model.")
        if rest == name or rest == "mask_emb":
            continue
        if rest.startswith("encoder.layers."):
            at, block = rest[:17], rest[17:]
            beginning = next((part for part in inside if block.startswith(part)), "")
            new[at + inside.get(beginning, "") + block.removeprefix(beginning)] = value
        else:
            beginning = next(name for name in part if rest.startswith(name))
            new[part[beginning] + rest.removeprefix(beginning)] = value
    assert set(new) == {name for name in published.fairseq2() if not name.startswith("encoder_pooler")}
    digests = []
    for i, state in enumerate((old, new)):
        convert(saved(state, tmp_path), tmp_path / str(i))
        digests.append(
            [hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((tmp_path / str(i)).iterdir())]
        )
    assert len(digests[0]) == 3 and digests[0] == digests[1]


def test_what_is_left_out_is_said(tmp_path):
    # a block has 37: 5 norms, 2 feed-forwards of 4, 4 projections of 2, 1, u and v, 3 convolutions, 5 of batch norm
    kept, pooler, traces = convert(saved(published.drawn(published.fairseq()), tmp_path), tmp_path / "sonar")
    assert kept.startswith("kept 80 tensors") and kept.endswith("named as in fairseq: 2 blocks of width 32")
    assert pooler.startswith("left out the sentence pooler: 28 tensors")
    assert traces.startswith("left out traces of pretraining, not part of the encoder: 2 tensors")


def test_the_real_sizes_have_606_million_parameters_and_lora_trains_6_3_million():
    # a block: two feed-forwards, five projections of 1024 x 1024, u and v, three convolutions, batch norm, five norms
    ffn = 2 * 1024 * 4096 + 4096 + 1024
    attention = 5 * 1024 * 1024 + 4 * 1024 + 2 * 1024
    convolution = 3 * 1024 * 1024 + 31 * 1024 + 2 * 1024
    around = 2 * 160 + 160 * 1024 + 1024 + 2 * 1024
    with torch.device("meta"):
        model = SonarSpeechModel(SonarSpeechConfig())
    total = sum(parameter.numel() for parameter in model.parameters())
    assert total == 24 * (2 * ffn + attention + convolution + 5 * 2 * 1024) + around == 605_596_992
    tuned = attach(model, AdaptationSettings(method="lora", lora=LoraSettings()))
    assert sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad) == 24 * 4 * 32 * 2048


def test_training_never_moves_the_batch_norms(tmp_path):
    convert(saved(published.drawn(published.fairseq2()), tmp_path), tmp_path / "sonar")
    encoder = load_speech(EncoderSettings(checkpoint=str(tmp_path / "sonar")), CPU)
    before = {name: value.clone() for name, value in encoder.model.named_buffers()}
    encoder.train()
    encoder(**encoder.prepare([np.random.default_rng(0).standard_normal(8_000)]))
    assert encoder.model.training
    for name, value in encoder.model.named_buffers():
        if "running" in name or "tracked" in name:
            assert torch.equal(value, before[name])


def test_half_precision_and_the_old_file_format_are_read(tmp_path):
    state = {name: value.half() if value.is_floating_point() else value for name, value in DRAWN.items()}
    convert(saved(state, tmp_path, _use_new_zipfile_serialization=False), tmp_path / "sonar")
    model = load_speech(EncoderSettings(checkpoint=str(tmp_path / "sonar")), CPU).model
    bias = model.encoder.layers[1].self_attn.pos_bias_u
    assert torch.equal(bias, DRAWN["encoder.layers.1.self_attn.sdpa.u_bias"].half().float())


def without(name):
    return {other: value for other, value in DRAWN.items() if other != name}


def test_a_missing_tensor_is_named(tmp_path):
    message = refusal(without("encoder.layers.1.conv.batch_norm.running_var"), tmp_path)
    assert "lacks 1 tensors" in message and "'encoder.layers.1.conv.batch_norm.running_var' first" in message


def test_a_missing_block_is_named(tmp_path):
    message = refusal(
        {name: value for name, value in DRAWN.items() if not name.startswith("encoder.layers.0.")}, tmp_path
    )
    assert "lacks 'encoder.layers.0." in message


def test_the_norm_behind_the_blocks_may_not_be_missing(tmp_path):
    assert "'layer_norm.weight' first" in refusal(without("layer_norm.weight"), tmp_path)


def test_an_unknown_tensor_is_never_dropped(tmp_path):
    message = refusal({**DRAWN, "encoder.layers.0.self_attn.sdpa.rel_k_embed.weight": torch.zeros(73, 8)}, tmp_path)
    assert "1 tensors that no SONAR speech encoder has, 'encoder.layers.0.self_attn.sdpa.rel_k_embed.weight'" in message


def test_another_shape_is_refused_with_both(tmp_path):
    name = "encoder.layers.1.ffn2.output_proj.weight"
    message = refusal({**DRAWN, name: torch.zeros(32, 47)}, tmp_path)
    assert message.endswith(f"{name!r} has shape (32, 47), expected (32, 48) by the other tensors")


def test_an_even_kernel_or_other_bands_are_refused(tmp_path):
    even = {
        name: torch.zeros(32, 1, 6) if name.endswith("depthwise_conv.weight") else value
        for name, value in DRAWN.items()
    }
    assert "convolves over 6 frames, SONAR takes" in refusal(even, tmp_path)
    assert "takes 100 bands" in refusal(
        {**DRAWN, "encoder_frontend.model_dim_proj.weight": torch.zeros(32, 100)}, tmp_path
    )


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    name = "encoder.layers.0.ffn1.inner_proj.bias"
    assert f"{name!r} holds a number that is not finite" in refusal(
        {**DRAWN, name: torch.full((48,), np.nan)}, tmp_path
    )


@pytest.mark.parametrize(
    "name", ["encoder.embed_tokens.weight", "encoder_frontend.embed.weight"], ids=["fairseq", "fairseq2"]
)
def test_a_text_encoder_is_recognised(name, tmp_path):
    message = refusal(
        {name: torch.zeros(10, 32), "encoder.layers.0.self_attn.q_proj.weight": torch.zeros(32, 32)}, tmp_path
    )
    assert message.endswith("(is it SONAR's text encoder?)")


class Attack:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    message = refusal({**DRAWN, "attack": Attack(tmp_path / "ran")}, tmp_path)
    assert "holds the Python object posix.mkdir, which is never loaded, it can run code" in message
    assert not (tmp_path / "ran").exists()
    assert "object argparse.Namespace" in refusal({**DRAWN, "args": argparse.Namespace()}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused(content, tmp_path):
    path = tmp_path / "spenc.eng.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="spenc.eng.pt"):
        convert(path, tmp_path / "sonar")


def test_a_file_cut_short_is_refused(tmp_path):
    path = saved(DRAWN, tmp_path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="cannot be read: .*download cut short"):
        convert(path, tmp_path / "sonar")


def test_a_state_dict_by_itself_is_taken_and_numbers_are_not(tmp_path):
    path = tmp_path / "state.pt"
    torch.save(DRAWN, path)
    convert(path, tmp_path / "sonar")
    torch.save({"model": {"lr": 0.1}}, path)
    with pytest.raises(InputError, match="holds no state dict, neither by itself nor under 'model'"):
        convert(path, tmp_path / "sonar")


def test_a_folder_of_something_else_is_left_alone_and_an_earlier_one_replaced(tmp_path):
    path, out = saved(DRAWN, tmp_path), tmp_path / "sonar"
    out.mkdir()
    (out / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(InputError, match="exists and holds something else"):
        convert(path, out)
    assert [path.name for path in out.iterdir()] == ["config.json"]
    (out / "config.json").write_text('{"model_type": "sonar-speech"}')
    convert(path, out)
    assert json.loads((out / "config.json").read_text())["hidden_size"] == 32
    assert len({file.stat().st_mode for file in out.iterdir()}) == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_command_prints_what_it_did(tmp_path):
    path = saved(published.drawn(published.fairseq()), tmp_path)
    done = CliRunner().invoke(app, ["convert", "sonar", str(path), str(tmp_path / "sonar")])
    assert done.exit_code == 0
    assert done.stdout.count("\n") == 3 and "left out the sentence pooler" in done.stdout
    with pytest.raises(InputError, match="does not exist"):
        convert(tmp_path / "no.pt", tmp_path / "other")
