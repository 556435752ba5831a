"""The learned mean of layers."""

import pytest
import torch

from pipeline_lib.networks.layer_weights import LayerWeights


def test_all_layers_count_alike_at_first():
    layers = [torch.full((1, 2, 3), float(i)) for i in range(4)]
    torch.testing.assert_close(LayerWeights(4)(layers), torch.full((1, 2, 3), 1.5))


def test_weights_are_a_softmax():
    mixture = LayerWeights(2)
    mixture.scores.data = torch.tensor([0.0, torch.log(torch.tensor(3.0))])
    torch.testing.assert_close(mixture.weights(), torch.tensor([0.25, 0.75]))
    mixed = mixture([torch.zeros(1, 1, 1), torch.ones(1, 1, 1)])
    torch.testing.assert_close(mixed, torch.full((1, 1, 1), 0.75))


def test_a_missing_layer_is_refused():
    with pytest.raises(ValueError, match=r"got 3 layers for 4 weights \(did layerdrop skip a block\?\)"):
        LayerWeights(4)([torch.zeros(1, 1, 1)] * 3)
