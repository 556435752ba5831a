"""Counts on one and two blocks against the whole network on real tensors, and against a decoder counted by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.rehearsal import counting, networks, published
from pipeline_lib.rehearsal.arithmetic import ATTENTION_FLOP
from tests.recipes.laid_down import text

BATCH, SECONDS = 5, 2.0


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    path = tmp_path_factory.mktemp("default") / "params.yaml"
    path.write_text(text("default", False))
    return read_all(read_params(path), path)


@pytest.mark.parametrize("name", ["audio", "text"])
def test_a_count_is_that_of_the_whole_network_on_real_tensors(name, params, tmp_path):
    expert = params.finetuning[name]
    counted = counting.count(expert, params, SECONDS, BATCH)
    found = networks.architectures(expert, params)
    encoders = {key: each.laid_down(tmp_path / key, each.blocks) for key, each in found.items()}
    labels = networks.labels_of(expert, params)
    network = networks.build(networks.settings_of(expert, labels, encoders), expert, torch.device("cpu"))
    inputs = network.encoder.prepare([counting.spoken(network.encoder.branches, SECONDS)] * BATCH)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOP) as counter:
        counting.step(network, inputs, expert).backward()
    training = counter.get_total_flops()
    with FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOP) as counter, torch.no_grad():
        network.eval()(inputs)
    assert counted.training_flop == training
    assert counted.forward_flop == counter.get_total_flops()
    assert counted.parameters == sum(tensor.numel() for tensor in network.parameters())
    assert counted.trained == sum(tensor.numel() for tensor in network.parameters() if tensor.requires_grad)


def test_a_frozen_decoder_is_counted_as_by_hand(params):
    width, between, blocks, tokens = 96, 256, 3, 8
    found = networks.Architecture.of(params.finetuning["text"].encoder)
    counted = counting.count_encoder(found, "text", tokens / counting.TOKENS_PER_S)
    per_token = 2 * (4 * width * width + 3 * width * between)
    n = _tokens(found, tokens)  # the shipped tokenizer cuts a word into pieces
    attention = 2 * 2 * n * width  # each token with all n, scores and values, the causal half not left out
    assert counted.forward_flop == n * blocks * (per_token + attention)


def _tokens(found, words: int) -> int:
    from pipeline_lib.encoders.load import load_text

    encoder = load_text(found.settings, torch.device("cpu"))
    return int(encoder.prepare([" ".join([published.WORD] * words)])["input_ids"].shape[1])


def test_values_at_all_blocks_follow_from_one_and_two():
    def of(blocks):
        return np.array([7.0 + 2.0 * blocks["audio"] + 3.0 * blocks["text"], 1.0])

    assert counting.extrapolated(of, {"audio": 24, "text": 4}).tolist() == [7 + 48 + 12, 1]
    assert counting.extrapolated(of, {"audio": 0, "text": 1}).tolist() == [10, 1]


def test_a_checkpoint_without_weights_keeps_the_tokenizer_of_a_folder(tmp_path):
    published.lay_down("models/demo/llama", tmp_path / "llama", 1)
    names = {path.name for path in (tmp_path / "llama").iterdir()}
    assert "tokenizer.json" in names and not any(name.endswith(".safetensors") for name in names)
    assert published.blocks(published.configuration(str(tmp_path / "llama"))) == 1


@pytest.mark.parametrize("name", sorted(published.CONFIGURATIONS))
def test_every_published_size_is_a_configuration_that_is_known(name, tmp_path):
    published.lay_down(name, tmp_path / "made")
    made = published.configuration(str(tmp_path / "made"))
    assert made.to_diff_dict() == published.configuration(name).to_diff_dict()
    assert {path.name for path in (tmp_path / "made").iterdir()} > {"config.json"}
    assert Path(tmp_path / "made" / "config.json").stat().st_size < 20_000
