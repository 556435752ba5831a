"""A network of one modality: encoder, layers, pooling and head written out, bit for bit."""

import copy

import pytest
import torch

from pipeline_lib.networks.heads import build as build_head
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.network import Network
from pipeline_lib.networks.pooling import build as build_pooling
from pipeline_lib.params.network import HeadSettings, PoolingSettings
from tests.networks.joint_networks import Encoder, inputs

WIDTHS = {"audio": 6}
POOLINGS = ["attentive", "mean", "mean_std", "mean_max", "last_token"]


def network(pooling="attentive", weighted=True, frozen=False):
    torch.manual_seed(0)
    pooled = build_pooling(PoolingSettings(kind=pooling, attention_width=5), 6)
    head = build_head(HeadSettings(kind="dense", width=7, dropout=0.3), pooled.width, 4, 2)
    weights = {"audio": LayerWeights(3)} if weighted else {}
    return Network(Encoder(frozen, WIDTHS), weights, pooled, {"shared": head})


def given(n=5):
    return inputs([[1]] * n, time=(7,), widths=WIDTHS)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("weighted", [True, False])
def test_outputs_and_gradients_are_those_of_the_parts_one_after_the_other_to_the_bit(pooling, weighted):
    net, batch = network(pooling, weighted).train(), given()
    encoder, layer_weights, pool, head = (
        copy.deepcopy(part)
        for part in (net.encoder.branches["audio"], net.layer_weights, net.join, net.heads["shared"])
    )
    torch.manual_seed(1)  # of dropout
    result = net(batch)
    torch.manual_seed(1)
    hidden = encoder(*batch["audio"])
    frames = layer_weights["audio"](hidden.layers) if weighted else hidden.layers[-1]
    expected = head(pool(frames, hidden.mask))
    assert result.keys() == expected.keys() == {"embedding", "logits", "attributes"}
    assert all(torch.equal(result[name], expected[name]) for name in expected)
    sum(values.square().sum() for values in result.values()).backward()
    sum(values.square().sum() for values in expected.values()).backward()
    again = [*encoder.parameters(), *layer_weights.parameters(), *pool.parameters(), *head.parameters()]
    for (name, parameter), other in zip(net.named_parameters(), again, strict=True):
        assert torch.equal(parameter.grad, other.grad), name


def test_parameters_come_in_the_order_in_which_they_are_trained():
    kinds = [name.split(".")[0] for name, _ in network().named_parameters()]
    assert list(dict.fromkeys(kinds)) == ["encoder", "layer_weights", "join", "heads"]


def test_its_only_view_is_its_outputs_and_both_is_its_only_pass():
    net, batch = network().eval(), given()
    outputs = net(batch)
    for other in (net.views(batch), net.passes(batch, ["both"])["both"].outputs):
        assert other.keys() == outputs.keys()
        assert all(torch.equal(other[name], outputs[name]) for name in outputs)
    assert net.modalities == ("audio",)


def test_a_frozen_encoder_stays_in_eval_mode():
    net = network(frozen=True).train()
    assert not net.encoder.branches["audio"].training and net.join.training and net.heads["shared"].training
