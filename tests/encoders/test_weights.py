"""Backbones whose weights are held in bfloat16 and in 4 bit, against the float32 ones."""

import json
import shutil

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit
from scipy.stats import norm

from pipeline_lib.encoders import four_bit
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach, trained_by_module
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, LoraSettings
from tests.encoders.checkpoints import SPEECH, TEXT

CPU = torch.device("cpu")
TEXTS = ["i am happy", "", "the a so very sad and angry not today", "we"]


def states(encoder, given):
    with torch.inference_mode():
        return encoder(**encoder.prepare(given))


def error(result, expected):
    """Return each layer's relative error over the valid frames."""
    pairs = [
        (one[expected.mask], other[expected.mask]) for one, other in zip(result.layers, expected.layers, strict=True)
    ]
    return [float(torch.linalg.norm(one - other) / torch.linalg.norm(other)) for one, other in pairs]


def by_hand(weights: np.ndarray) -> np.ndarray:
    """Return weights as NF4 rounds them, its constants left in full: the equations of Dettmers et al., section 3.

    Eight levels from 0 up and eight from 0 down, at quantiles of the normal distribution between 1 - offset and a half,
    scaled so that the outermost are 1 and -1; every 64 weights are divided by their largest magnitude.
    """
    offset = 0.9677083
    up = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    down = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([down, [0.0], up])) / up[0]
    blocks = weights.reshape(-1, 64)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    nearest = np.abs((blocks / largest)[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * largest).reshape(weights.shape)


def unpacked(layer: Linear4bit) -> torch.Tensor:
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_bfloat16_weights_are_near_float32_and_hidden_states_are_handed_on_in_float32(name, load, waveforms):
    given = TEXTS if name in TEXT else waveforms
    encoder = load(name, weights="bfloat16")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.bfloat16}
    result = states(encoder, given)
    assert {layer.dtype for layer in result.layers} == {torch.float32}
    assert max(error(result, states(load(name), given))) < 0.03  # bfloat16 has 8 bits, 0.4 %


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_in_bfloat16_an_utterance_depends_on_its_neighbours_by_rounding_only(name, load, waveforms):
    given = TEXTS if name in TEXT else waveforms
    encoder = load(name, weights="bfloat16")
    together = states(encoder, given)
    for i, value in enumerate(given):
        alone = states(encoder, [value])
        n = int(alone.lengths[0])
        for one, other in zip(together.layers, alone.layers, strict=True):
            assert torch.linalg.norm(one[i, :n] - other[0]) <= 0.02 * torch.linalg.norm(other[0])


@pytest.mark.parametrize(("name", "tolerance"), [("llama_wide", 0.45), ("roberta_wide", 0.35), ("bert_wide", 0.35)])
def test_four_bit_weights_are_near_float32(name, tolerance, load):
    # measured on blocks of width 128: LLaMA .231 .306 .335 by layer, RoBERTa .140 .218 .252, BERT .136 .205 .230
    encoder = load(name, weights="nf4")
    result, expected = states(encoder, TEXTS), states(load(name), TEXTS)
    errors = error(result, expected)
    assert errors[0] == 0.0  # embeddings are not quantised
    assert 0.01 < errors[-1] < tolerance
    linear = [module for module in encoder.modules() if isinstance(module, torch.nn.Linear)]
    assert all(isinstance(layer, Linear4bit) for layer in linear)
    assert {layer.weight.quant_type for layer in linear} == {"nf4"}
    assert all(layer.weight.quant_state.nested and layer.compute_dtype == torch.bfloat16 for layer in linear)


def test_four_bit_weights_are_the_nearest_of_nf4s_levels(load):
    packed = dict(load("llama_wide", weights="nf4").named_modules())
    for name, layer in load("llama_wide").named_modules():
        if isinstance(layer, torch.nn.Linear):
            weights = layer.weight.detach().numpy()
            result, expected = unpacked(packed[name]).float().numpy(), by_hand(weights)
            rounding = np.linalg.norm(expected - weights) / np.linalg.norm(weights)
            assert 0.05 < rounding < 0.12
            # the constants, in 8 bits of their own, move all weights of a block together
            assert np.linalg.norm(result - expected) < 0.03 * np.linalg.norm(weights)


def test_a_four_bit_model_computes_in_bfloat16_what_its_unpacked_weights_say(load):
    packed, plain = load("llama_wide", weights="nf4"), load("llama_wide")
    layers = dict(packed.named_modules())
    with torch.no_grad():
        for name, layer in plain.named_modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.copy_(unpacked(layers[name]))
    assert max(error(states(packed, TEXTS), states(plain, TEXTS))) < 0.02


def test_the_gradient_passes_four_bit_weights_and_reaches_lora_as_it_does_in_float32(load):
    lora = AdaptationSettings(method="lora", lora=LoraSettings(r=4, target_modules="all-linear", lora_dropout=0.0))
    gradients = {}
    for weights in ("float32", "bfloat16", "nf4"):
        encoder = load("llama_wide", weights=weights)
        torch.manual_seed(1)
        encoder.model = attach(encoder.model, lora)
        hidden = encoder(**encoder.prepare(TEXTS))
        hidden.layers[-1][hidden.mask][:, :5].sum().backward()
        taken = {name: parameter for name, parameter in encoder.named_parameters() if parameter.requires_grad}
        assert all(
            "lora_" in name and value.dtype == value.grad.dtype == torch.float32 for name, value in taken.items()
        )
        gradients[weights] = torch.cat([value.grad.flatten() for name, value in taken.items() if "lora_B" in name])
    for weights, least in (("bfloat16", 0.999), ("nf4", 0.9)):
        pair = gradients[weights], gradients["float32"]
        assert torch.cosine_similarity(*pair, dim=0) > least


def test_four_bit_parameters_count_as_weights_and_not_as_bytes(load):
    ((_, _, packed),) = trained_by_module(load("llama_wide", weights="nf4"))
    # a block of width 128, intermediate 192, keys and values of 64; then 20 words, two norms a block and the last one
    assert packed == 3 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 192) + 20 * 128 + 7 * 128 == 372_096


@pytest.mark.parametrize("name", ["llama_wide", "roberta_wide"])
def test_random_four_bit_weights_follow_the_seed_and_leave_the_generator_alone(name, load):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (load(name, weights="nf4", pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    made = [states(encoder, TEXTS).layers[-1] for encoder in (one, same, other)]
    assert torch.equal(made[0], made[1])
    assert not torch.allclose(made[0], made[2])
    plain = load(name, pretrained=False)
    assert one.state_dict().keys() >= plain.state_dict().keys()
    for key, values in plain.state_dict().items():
        if "norm" in key.lower():
            assert torch.equal(one.state_dict()[key], values), key
    spread = torch.cat([unpacked(module).flatten() for module in one.modules() if isinstance(module, Linear4bit)]).std()
    assert abs(spread / plain.model.config.initializer_range - 1) < 0.03
    for key, values in plain.model.named_buffers():
        assert torch.equal(one.model.get_buffer(key), values), key  # rotary tables, position numbers


def test_random_four_bit_weights_need_no_weights_file(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama_wide"), tmp_path / "llama")
    (folder / "model.safetensors").unlink()
    assert load_text(EncoderSettings(checkpoint=str(folder), pretrained=False, weights="nf4"), CPU).n_layers == 3


@pytest.mark.parametrize("weights", ["bfloat16", "nf4"])
def test_kept_blocks_are_the_first_ones(weights, load):
    whole, cut = load("llama_wide", weights=weights), load("llama_wide", weights=weights, layers_kept=2)
    assert cut.n_layers == 2
    full, short = states(whole, TEXTS), states(cut, TEXTS)
    torch.testing.assert_close(short.layers[1], full.layers[1], rtol=0, atol=0)


def test_speech_in_four_bit_is_refused(checkpoint):
    folder = checkpoint("w2v_bert")
    with pytest.raises(InputError, match="w2v_bert is for speech, 4-bit weights are for text; set weights to bfloat16"):
        load_speech(EncoderSettings(checkpoint=str(folder), weights="nf4"), CPU)


@pytest.mark.parametrize("pretrained", [True, False])
def test_four_bit_without_bitsandbytes_is_refused_with_the_remedy(pretrained, load, monkeypatch):
    monkeypatch.setattr(four_bit, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"bitsandbytes is not installed; pip install 'speech-emotion-pipeline\[qlora\]'"
    ):
        load("llama_wide", weights="nf4", pretrained=pretrained)


def test_a_checkpoint_that_is_quantised_already_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "llama")
    values = json.loads((folder / "config.json").read_text())
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(values | {"quantization_config": quantised}))
    with pytest.raises(InputError, match="holds weights that are quantised already.* give the full checkpoint"):
        load_text(EncoderSettings(checkpoint=str(folder)), CPU)
