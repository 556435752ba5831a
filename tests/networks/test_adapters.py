"""What is trained of an encoder, counted by hand."""

import pytest
import torch
from transformers import AutoModel, Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach, in_float32, keep_frozen_norms_still, targets, trained_by_module
from pipeline_lib.params.network import AdaptationSettings, LoraSettings
from tests.encoders.checkpoints import SPEECH, TEXT


def model_of(name):
    torch.manual_seed(0)
    return AutoModel.from_config((SPEECH | TEXT)[name])


def trained(module):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def lora(**changes):
    return AdaptationSettings(method="lora", lora=LoraSettings(**changes))


def test_a_frozen_encoder_trains_nothing():
    assert trained(attach(model_of("w2v_bert"), AdaptationSettings(method="frozen"))) == 0


def test_full_trains_everything_but_the_convolutional_feature_encoder():
    model = attach(model_of("hubert_group"), AdaptationSettings(method="full"))
    held = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert held
    assert all(name.startswith("feature_extractor.") for name in held)
    unfrozen = attach(model_of("hubert_group"), AdaptationSettings(method="full", freeze_feature_encoder=False))
    assert trained(unfrozen) == sum(parameter.numel() for parameter in unfrozen.parameters())


def test_full_is_refused_where_weights_are_not_in_float32():
    with pytest.raises(InputError, match="not in float32; bfloat16 rounds Adam's small updates away, 4 bit takes no"):
        attach(model_of("llama").to(torch.bfloat16), AdaptationSettings(method="full"))


def test_lora_beside_bfloat16_weights_is_in_float32():
    model = attach(model_of("llama").to(torch.bfloat16), lora())
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    assert not in_float32(model)


def test_full_leaves_whispers_sinusoids_a_table():
    encoder = attach(model_of("whisper").encoder, AdaptationSettings(method="full"))
    assert not encoder.embed_positions.weight.requires_grad
    assert trained(encoder) > 0


@pytest.mark.parametrize(
    ("group", "each_block"),
    # width 32, intermediate 48, rank 4: a square layer has 4 * (32 + 32), a feed-forward one 4 * (32 + 48)
    [("attention", 4 * 256), ("attention_and_feed_forward", 4 * 256 + 4 * 320)],
)
def test_lora_on_w2v_bert_by_hand(group, each_block):
    model = attach(model_of("w2v_bert"), lora(r=4, target_modules=group))
    assert trained(model) == 3 * each_block


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("w2v_bert", {"linear_q", "linear_k", "linear_v", "linear_out"}),
        ("hubert_group", {"q_proj", "k_proj", "v_proj", "out_proj"}),
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("roberta", {"query", "key", "value", "dense"}),
        ("wavlm_group", None),
    ],
)
def test_the_attention_group_knows_each_architecture(name, leaves):
    model = model_of(name)
    if leaves is None:
        with pytest.raises(InputError, match="LoRA has no effect on WavLM's attention"):
            targets(model, LoraSettings())
        return
    result = targets(model, LoraSettings())
    assert {name.split(".")[-1] for name in result} == leaves
    assert len(result) == 4 * 3  # four layers in each of three blocks


def test_wavlm_is_adapted_in_its_feed_forward_layers():
    result = targets(model_of("wavlm_group"), LoraSettings(target_modules="attention_and_feed_forward"))
    assert {name.split(".")[-1] for name in result} == {"intermediate_dense", "output_dense"}


def test_layers_can_be_named_and_an_unknown_name_is_refused_with_those_there_are():
    model = model_of("w2v_bert")
    assert len(targets(model, LoraSettings(target_modules=["linear_q"]))) == 3
    with pytest.raises(InputError, match=r"names \['q_proj'\], expected layers of the encoder: .*'linear_q'"):
        targets(model, LoraSettings(target_modules=["linear_q", "q_proj"]))


def test_all_linear_takes_every_linear_layer():
    model = model_of("llama")
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    assert targets(model, LoraSettings(target_modules="all-linear")) == linear


@pytest.mark.parametrize("name", ["w2v_bert", "llama", "roberta"])
def test_lora_in_some_blocks_is_what_it_is_there_in_all(name):
    everywhere = targets(model_of(name), LoraSettings(target_modules="attention_and_feed_forward"))
    upper = targets(model_of(name), LoraSettings(target_modules="attention_and_feed_forward", layers_to_transform=[2]))
    assert upper == [layer for layer in everywhere if ".2." in f".{layer}"]
    assert 3 * len(upper) == len(everywhere) > 0


def test_blocks_below_the_first_that_is_adapted_run_without_gradient():
    encoder = model_of("whisper").encoder
    n_blocks = len(encoder.layers)
    top = n_blocks - 1
    model = attach(encoder, lora(r=2, lora_dropout=0.0, layers_to_transform=[top])).train()
    mels = torch.randn(1, encoder.config.num_mel_bins, 2 * encoder.config.max_source_positions)
    states = model(mels, output_hidden_states=True).hidden_states  # input of the first block, then outputs
    assert [state.requires_grad for state in states[: top + 1]] == [False] * (top + 1)
    states[-1].sum().backward()
    changed = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert changed
    assert all(f"layers.{top}." in name and "lora_" in name for name in changed)


def test_a_block_that_the_encoder_lacks_is_refused_with_those_it_has():
    settings = LoraSettings(layers_to_transform=[1, 7])
    with pytest.raises(InputError, match=r"layers_to_transform names \[7\], expected blocks of the encoder, 0 to 2"):
        targets(model_of("w2v_bert"), settings)


@pytest.mark.parametrize("method", ["frozen", "full", "lora"])
def test_before_training_the_output_is_the_encoders_own(method):
    model = model_of("llama").eval()
    tokens = torch.tensor([[1, 5, 7]])
    before = model(tokens).last_hidden_state
    assert torch.equal(attach(model, AdaptationSettings(method=method)).eval()(tokens).last_hidden_state, before)


def test_the_real_w2v_bert_trains_6_3_million_in_its_attention_and_22_with_the_feed_forward_layers():
    # attention: 24 blocks, 4 layers of 1024 x 1024, rank 32; feed-forward: two pairs of 1024 x 4096 a block
    with torch.device("meta"):
        model = Wav2Vec2BertModel(Wav2Vec2BertConfig())
        both = Wav2Vec2BertModel(Wav2Vec2BertConfig())
    assert trained(attach(model, lora())) == 24 * 4 * 32 * 2048 == 6_291_456
    expected = 6_291_456 + 24 * 4 * 32 * 5120
    assert trained(attach(both, lora(target_modules="attention_and_feed_forward"))) == expected == 22_020_096


def test_parameters_are_counted_by_kind_of_layer():
    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.ModuleDict({"model": attach(model_of("w2v_bert"), lora(r=4))})
            self.head = torch.nn.Linear(3, 2)

    rows = {name: (trained, total) for name, trained, total in trained_by_module(Whole())}
    assert rows["encoder linear_q (lora)"] == (3 * 256, 3 * 256)
    assert rows["encoder linear_q"] == (0, 3 * (32 * 32 + 32))
    assert rows["head"] == (8, 8)


def test_batch_norms_that_are_not_trained_keep_their_statistics():
    frozen, free = torch.nn.BatchNorm1d(2).requires_grad_(False), torch.nn.BatchNorm1d(2)
    both = torch.nn.Sequential(frozen, free).train()
    keep_frozen_norms_still(both)
    both(torch.randn(8, 2) + 5)
    assert (frozen.running_mean == 0).all()
    assert (free.running_mean != 0).all()
