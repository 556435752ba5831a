"""TalTech's head written again."""

import numpy as np
import torch

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
