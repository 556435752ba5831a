r"""Moving average of the weights, measured and saved in place of them.

After step t of a phase, counted from 0,

.. math:: \bar\theta \leftarrow d_t \bar\theta + (1 - d_t) \theta, \quad d_t = \min\left(d, \frac{1 + t}{10 + t}\right)

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the correction of the first steps,
in which the average would be that of untrained weights, is TensorFlow's ``ExponentialMovingAverage`` with
``num_updates``. Batch norm's statistics are averaged too. Every phase begins an average of its own, at the weights that
the phase before ended on. It is in float32, on the network's device.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from pipeline_lib.finetuning import optimisation

SUFFIX = ":average"  # of the names in a checkpoint


class WeightAverage:
    """The average of all that takes gradients, and of batch norm's statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin at the network's weights.

        Args:
            network: what it trains takes gradients
            decay: d, in (0, 1)
        """
        self.decay = decay
        self.values = {name: tensor.float().clone() for name, tensor in _averaged(network).items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the network's weights.

        Args:
            network: after the step
            step: of the phase, from 0
        """
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in _averaged(network).items():
            self.values[name].lerp_(tensor.float(), share)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        """Give the network the averaged weights; afterwards it has its own again, to the bit.

        Every process gets those of the main one: batch norm's statistics are of each process's own share.

        Args:
            network: changed in place
        """
        own = {name: tensor.clone() for name, tensor in _averaged(network).items()}
        self.values = broadcast(self.values)
        _put(network, self.values)
        try:
            yield
        finally:
            _put(network, own)

    def tensors(self) -> dict[str, Tensor]:
        """Return copies on the CPU for a checkpoint, by ``name:average``, of the shapes of the weights."""
        return {f"{name}{SUFFIX}": value.cpu().clone().contiguous() for name, value in self.values.items()}

    def restore(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take the average out of a checkpoint's tensors and return the others.

        Args:
            tensors: by name, of the shapes of the weights
        """
        for name, value in self.values.items():
            value.copy_(tensors[f"{name}{SUFFIX}"])
        return {name: tensor for name, tensor in tensors.items() if not name.endswith(SUFFIX)}


def _averaged(network: nn.Module) -> dict[str, Tensor]:
    """Return what is averaged by name, no copies."""
    trained = {name: values.detach() for name, values in network.named_parameters() if values.requires_grad}
    return trained | {
        name: values for name, values in optimisation.norm_statistics(network) if values.is_floating_point()
    }


@torch.no_grad()
def _put(network: nn.Module, values: dict[str, Tensor]) -> None:
    for name, tensor in _averaged(network).items():
        tensor.copy_(values[name])
