"""TalTech's head and the plain ones written again."""

import numpy as np
import pytest
import torch

from pipeline_lib.losses import combined
from pipeline_lib.networks.heads import FeedForwardHead, build
from pipeline_lib.params.network import HeadSettings


def test_dense_relu_batch_norm_output_and_tanh_for_attributes():
    torch.manual_seed(0)
    head = FeedForwardHead(3, 4, n_labels=2, n_attributes=3).eval()
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2.0)
    pooled = torch.randn(5, 3)
    outputs = {name: value.detach().numpy() for name, value in head(pooled).items()}
    state = {name: tensor.double().numpy() for name, tensor in head.state_dict().items()}
    dense = pooled.double().numpy() @ state["dense.weight"].T + state["dense.bias"]
    hidden = (np.maximum(dense, 0) - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    hidden = hidden * state["norm.weight"] + state["norm.bias"]
    np.testing.assert_allclose(outputs["embedding"], dense, rtol=1e-5)
    assert (dense < 0).any()  # the embedding is what stands before the ReLU
    logits = hidden @ state["emotion.weight"].T + state["emotion.bias"]
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-4, atol=1e-6)
    attributes = np.tanh(hidden) @ state["attributes.weight"].T + state["attributes.bias"]
    np.testing.assert_allclose(outputs["attributes"], attributes, rtol=1e-4, atol=1e-6)


def test_a_linear_head_has_outputs_of_the_pooled_vector_alone():
    head = build(HeadSettings(kind="linear", width=4), 3, n_labels=2, n_attributes=1).eval()
    pooled = torch.randn(5, 3)
    outputs, state = head(pooled), {name: tensor.double() for name, tensor in head.state_dict().items()}
    assert {*state} == {"emotion.weight", "emotion.bias", "attributes.weight", "attributes.bias"} and head.width == 3
    torch.testing.assert_close(outputs["embedding"], pooled, rtol=0, atol=0)
    for name, output in (("emotion", "logits"), ("attributes", "attributes")):
        expected = pooled.double() @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        torch.testing.assert_close(outputs[output].double(), expected)


def test_only_the_outputs_of_the_settings_exist():
    assert set(FeedForwardHead(3, 4, 2, 0).eval()(torch.randn(2, 3))) == {"embedding", "logits"}
    assert set(FeedForwardHead(3, 4, 0, 1).eval()(torch.randn(2, 3))) == {"embedding", "attributes"}
    assert set(FeedForwardHead(3, 4, 2, 0, gender=True).eval()(torch.randn(2, 3))) == {"embedding", "logits", "gender"}


def test_gender_is_a_linear_layer_on_what_the_categories_read_and_moves_no_other_weight():
    torch.manual_seed(0)
    plain = FeedForwardHead(3, 4, n_labels=2, n_attributes=1).eval()
    torch.manual_seed(0)
    head = FeedForwardHead(3, 4, n_labels=2, n_attributes=1, gender=True).eval()
    assert all(torch.equal(tensor, head.state_dict()[name]) for name, tensor in plain.state_dict().items())
    pooled = torch.randn(5, 3)
    outputs = head(pooled)
    hidden = head.norm(torch.relu(head.dense(pooled)))
    torch.testing.assert_close(outputs["gender"], hidden @ head.gender.weight.T + head.gender.bias)
    torch.testing.assert_close(outputs["logits"], plain(pooled)["logits"], rtol=0, atol=0)


def gradients(gender):
    """Return each parameter's gradient under cross-entropy and gender, for speakers of these genders."""
    torch.manual_seed(0)
    head = FeedForwardHead(3, 4, n_labels=2, n_attributes=0, gender=True)
    truth = {"emotion": torch.tensor([0, 1, 0, 1]), "gender": torch.tensor(gender)}
    combined(head(torch.randn(4, 3)), truth, {"cross_entropy": 1.0, "gender": 1.0})[0].backward()
    return {name: parameter.grad for name, parameter in head.named_parameters()}


def test_where_no_gender_is_known_its_layer_gets_no_gradient_and_the_others_do():
    unknown, known = gradients([-1, -1, -1, -1]), gradients([0, 1, -1, -1])
    assert (unknown["gender.weight"] == 0).all() and (unknown["gender.bias"] == 0).all()
    assert (unknown["emotion.weight"] != 0).any() and (unknown["dense.weight"] != 0).any()
    assert (known["gender.weight"] != 0).any()
    assert not torch.equal(known["dense.weight"], unknown["dense.weight"])  # the shared layer learns from gender
    assert torch.equal(known["emotion.weight"], unknown["emotion.weight"])


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_plain_heads_are_two_linear_layers_around_a_nonlinearity(kind):
    torch.manual_seed(0)
    head = build(HeadSettings(kind=kind, width=4, dropout=0.1), 3, n_labels=2, n_attributes=3, sentiment=True).eval()
    pooled = torch.randn(5, 3)
    outputs = head(pooled)
    dense = pooled @ head.dense.weight.T + head.dense.bias
    hidden = dense.clamp_min(0) if kind == "relu" else (dense.exp() - (-dense).exp()) / (dense.exp() + (-dense).exp())
    torch.testing.assert_close(outputs["embedding"], dense)
    for name, layer in (("logits", head.emotion), ("attributes", head.attributes), ("sentiment", head.sentiment)):
        torch.testing.assert_close(outputs[name], hidden @ layer.weight.T + layer.bias, rtol=0, atol=1e-6)
    assert outputs["sentiment"].shape == (5, 3)
    assert "gender" not in outputs and not any("norm" in name for name in head.state_dict())


def test_the_head_of_de_oliveira_et_al_has_the_parameters_of_two_layers():
    head = build(HeadSettings(kind="tanh", width=768, dropout=0.1), 768 + 312, n_labels=0, n_attributes=3)
    assert sum(parameter.numel() for parameter in head.parameters()) == (1080 * 768 + 768) + (768 * 3 + 3)


def test_dropout_of_a_plain_head_is_on_in_training_only():
    head = build(HeadSettings(kind="tanh", width=50, dropout=0.5), 3, n_labels=0, n_attributes=2)
    pooled = torch.randn(4, 3)
    assert not torch.equal(head.train()(pooled)["attributes"], head(pooled)["attributes"])
    assert torch.equal(head.eval()(pooled)["attributes"], head(pooled)["attributes"])


def test_sentiment_comes_last_and_moves_no_other_weight():
    torch.manual_seed(0)
    plain = FeedForwardHead(3, 4, n_labels=2, n_attributes=1, gender=True)
    torch.manual_seed(0)
    head = build(HeadSettings(width=4), 3, n_labels=2, n_attributes=1, gender=True, sentiment=True)
    assert all(torch.equal(tensor, head.state_dict()[name]) for name, tensor in plain.state_dict().items())


def test_a_batch_of_one_trains_the_dense_head_by_its_running_statistics():
    torch.manual_seed(0)
    head = FeedForwardHead(3, 4, n_labels=2, n_attributes=0)
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2.0)
    before, pooled = head.norm.running_mean.clone(), torch.randn(1, 3)
    trained = head.train()(pooled)["logits"]
    trained.sum().backward()
    assert torch.equal(head.norm.running_mean, before) and (head.norm.weight.grad != 0).any()
    torch.testing.assert_close(trained, head.eval()(pooled)["logits"])


def test_a_whole_network_is_no_head_of_vectors():
    with pytest.raises(ValueError, match="'sequence_classification' is a whole network"):
        build(HeadSettings(kind="sequence_classification"), 3, 2, 0)
