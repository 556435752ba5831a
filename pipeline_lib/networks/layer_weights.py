"""A learned mean of an encoder's layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerWeights(nn.Module):
    r"""Convex combination of all layers, :math:`\sum_l \mathrm{softmax}(s)_l h_l`; all weights are equal at first.

    Layer 0 is the input of the first block, layer i the output of block i.

    Args:
        n_layers: blocks + 1
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(n_layers))

    def weights(self) -> Tensor:
        """Return each layer's weight, shape ``(n_layers,)``, above 0, with sum 1."""
        return self.scores.softmax(dim=0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the mean of the layers, shape ``(batch, time, width)``.

        Args:
            layers: ``n_layers`` tensors of that shape

        Raises:
            ValueError: there are not as many layers as weights
        """
        if len(layers) != len(self.scores):
            raise ValueError(f"got {len(layers)} layers for {len(self.scores)} weights (did layerdrop skip a block?)")
        weights = self.weights()
        total = weights[0] * layers[0]
        for weight, layer in zip(weights[1:], layers[1:]):
            total = total + weight * layer
        return total
