"""A learned mean of an encoder's layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerWeights(nn.Module):
    r"""Convex combination of all layers, :math:`\sum_l \mathrm{softmax}(s)_l h_l`; all weights are equal at first.

    Layer 0 is what enters the first block, layer i the output of block i.
    """

    def __init__(self, n_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(n_layers))

    def weights(self) -> Tensor:
        """Return each layer's weight, shape ``(n_layers,)``, above 0, with sum 1."""
        return self.scores.softmax(dim=0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the mean, shape ``(batch, time, width)``, of as many tensors of that shape as there are weights."""
        if len(layers) != len(self.scores):
            raise ValueError(f"got {len(layers)} layers for {len(self.scores)} weights (did layerdrop skip a block?)")
        weights = self.weights()
        total = weights[0] * layers[0]
        for weight, layer in zip(weights[1:], layers[1:]):
            total = total + weight * layer
        return total
