"""TalTech's head written again."""

import numpy as np
import torch

from pipeline_lib.losses import combined
from pipeline_lib.networks.heads import DenseHead


def test_dense_relu_batch_norm_output_and_tanh_for_attributes():
    torch.manual_seed(0)
    head = DenseHead(3, 4, n_labels=2, n_attributes=3).eval()
    head.norm.running_mean.normal_()
    head.norm.running_var.uniform_(0.5, 2.0)
    pooled = torch.randn(5, 3)
    outputs = {name: each.detach().numpy() for name, each in head(pooled).items()}
    state = {name: each.double().numpy() for name, each in head.state_dict().items()}
    dense = pooled.double().numpy() @ state["dense.weight"].T + state["dense.bias"]
    hidden = (np.maximum(dense, 0) - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    hidden = hidden * state["norm.weight"] + state["norm.bias"]
    np.testing.assert_allclose(outputs["embedding"], dense, rtol=1e-5)
    assert (dense < 0).any()  # the embedding is what stands before the ReLU
    logits = hidden @ state["emotion.weight"].T + state["emotion.bias"]
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-4, atol=1e-6)
    attributes = np.tanh(hidden) @ state["attributes.weight"].T + state["attributes.bias"]
    np.testing.assert_allclose(outputs["attributes"], attributes, rtol=1e-4, atol=1e-6)


def test_only_what_is_asked_for_is_there():
    assert set(DenseHead(3, 4, 2, 0).eval()(torch.randn(2, 3))) == {"embedding", "logits"}
    assert set(DenseHead(3, 4, 0, 1).eval()(torch.randn(2, 3))) == {"embedding", "attributes"}
    assert set(DenseHead(3, 4, 2, 0, gender=True).eval()(torch.randn(2, 3))) == {"embedding", "logits", "gender"}


def test_gender_is_a_linear_layer_on_what_the_categories_read_and_moves_no_other_weight():
    torch.manual_seed(0)
    plain = DenseHead(3, 4, n_labels=2, n_attributes=1).eval()
    torch.manual_seed(0)
    head = DenseHead(3, 4, n_labels=2, n_attributes=1, gender=True).eval()
    assert all(torch.equal(each, head.state_dict()[name]) for name, each in plain.state_dict().items())
    pooled = torch.randn(5, 3)
    outputs = head(pooled)
    hidden = head.norm(torch.relu(head.dense(pooled)))
    torch.testing.assert_close(outputs["gender"], hidden @ head.gender.weight.T + head.gender.bias)
    torch.testing.assert_close(outputs["logits"], plain(pooled)["logits"], rtol=0, atol=0)


def gradients(gender):
    """Return each parameter's gradient under cross-entropy and gender, for speakers of these genders."""
    torch.manual_seed(0)
    head = DenseHead(3, 4, n_labels=2, n_attributes=0, gender=True)
    truth = {"emotion": torch.tensor([0, 1, 0, 1]), "gender": torch.tensor(gender)}
    combined(head(torch.randn(4, 3)), truth, {"cross_entropy": 1.0, "gender": 1.0})[0].backward()
    return {name: each.grad for name, each in head.named_parameters()}


def test_where_no_gender_is_known_its_layer_gets_no_gradient_and_the_others_do():
    unknown, known = gradients([-1, -1, -1, -1]), gradients([0, 1, -1, -1])
    assert (unknown["gender.weight"] == 0).all() and (unknown["gender.bias"] == 0).all()
    assert (unknown["emotion.weight"] != 0).any() and (unknown["dense.weight"] != 0).any()
    assert (known["gender.weight"] != 0).any()
    assert not torch.equal(known["dense.weight"], unknown["dense.weight"])  # the shared layer learns from gender
    assert torch.equal(known["emotion.weight"], unknown["emotion.weight"])
