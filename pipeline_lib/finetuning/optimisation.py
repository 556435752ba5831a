"""Optimiser, learning rate, class weights, and the class prior that they leave in a posterior."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from pipeline_lib.params.training import LossSettings, PhaseSettings

OPTIMISERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def optimiser_of(network: nn.Module, phase: PhaseSettings) -> Optimizer:
    """Return the optimiser of a phase over all that takes gradients; weight decay is on all of it.

    Args:
        network: its encoder's parameters have the phase's learning rate, the others that of the head
        phase: optimiser, learning rates and weight decay
    """
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    encoder = [parameter for name, parameter in trained if name.startswith("encoder.")]
    rest = [parameter for name, parameter in trained if not name.startswith("encoder.")]
    peaks = (phase.learning_rate, phase.head_learning_rate or phase.learning_rate)
    groups = [{"params": params, "peak": peak} for params, peak in zip((encoder, rest), peaks) if params]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in encoder + rest)
    return OPTIMISERS[phase.optim](groups, lr=phase.learning_rate, weight_decay=phase.weight_decay, fused=fused)


def share_of_peak(step: int, total: int, phase: PhaseSettings) -> float:
    """Return the learning rate of a step as a share of its peak: a linear rise, then the decay.

    The first step of a warm-up of n steps has 1 / n of the peak, its last the whole. The step behind the phase's last
    would have 0.

    Args:
        step: of the phase, from 0
        total: steps of the phase
        phase: warm-up and decay

    Returns:
        in (0, 1]
    """
    warmup = math.ceil(phase.warmup_steps * total) if phase.warmup_steps < 1 else int(phase.warmup_steps)
    if step < warmup:
        return (step + 1) / warmup
    left = 1 - (step - warmup) / max(1, total - warmup)
    match phase.lr_scheduler_type:
        case "linear":
            return left
        case "cosine":
            return 0.5 * (1 - math.cos(math.pi * left))
        case "constant_with_warmup":
            return 1.0


def set_rate(optimiser: Optimizer, share: float) -> float:
    """Set every group to that share of its peak and return the first group's rate.

    Args:
        optimiser: of ``optimiser_of``
        share: in (0, 1]
    """
    for group in optimiser.param_groups:
        group["lr"] = share * group["peak"]
    return optimiser.param_groups[0]["lr"]


def class_weights(counts: np.ndarray, losses: LossSettings) -> np.ndarray | None:
    r"""Return the loss's weight of each label, :math:`w_y = n / (K n_y)`, or None for 1.

    Args:
        counts: training examples of each label, or with soft labels the targets' sum, shape ``(n_labels,)``, all > 0
        losses: which
    """
    if losses.class_weights == "none":
        return None
    return counts.sum() / (len(counts) * counts)


def drawn_shares(counts: np.ndarray, phase: PhaseSettings, epoch: int) -> np.ndarray:
    r"""Return how often the phase's sampler draws each label in an epoch, shape ``(n_labels,)``, sum 1.

    As the labels occur, or equally often; annealed, in epoch :math:`e` of :math:`E`, counted from 0,

    .. math:: s = \left(1 - \frac{e}{E - 1}\right) s_{balanced} + \frac{e}{E - 1} s_{natural}

    which is balanced where :math:`E = 1`.

    Args:
        counts: training examples of each label, shape ``(n_labels,)``
        phase: sampler and epochs
        epoch: of the phase, from 0
    """
    natural, balanced = counts / counts.sum(), np.full(len(counts), 1 / len(counts))
    moved = {"natural": 1.0, "balanced": 0.0, "annealed": epoch / max(1, phase.epochs - 1)}[phase.sampler]
    return (1 - moved) * balanced + moved * natural


def training_prior(
    counts: np.ndarray, phase: PhaseSettings, losses: LossSettings, epoch: int, soft: np.ndarray | None = None
) -> np.ndarray:
    r"""Return the class prior that the posterior contains after training, shape ``(n_labels,)``, sum 1.

    .. math:: P_t(y) \propto w_y s_y

    with :math:`w_y` the loss's class weight and :math:`s_y` how often the last phase's sampler drew the label in the
    epoch whose weights are kept; label smoothing makes it :math:`(1 - \epsilon) s_y + \epsilon / K`. The focal loss
    also flattens posteriors; no prior accounts for that. Neither do mixed utterances nor annotators left out change it:
    partners are drawn as the sampler draws, and no annotator is likelier to remain than another.

    With soft labels an utterance counts for several labels: :math:`s_y` is the mean target of what was drawn, of all
    utterances or, as a sampler by labels goes by the consensus c, :math:`s_y = \sum_c s_c \bar t_{cy}`.

    Args:
        counts: training examples of each label, shape ``(n_labels,)``
        phase: the last one
        losses: of that phase
        epoch: whose weights are kept, of that phase, from 0
        soft: soft labels, summed over the training examples of each label and, in a last row, over those without
            consensus, shape ``(n_labels + 1, n_labels)``
    """
    drawn, total = drawn_shares(counts, phase, epoch), counts
    if soft is not None:
        total = soft.sum(axis=0)
        drawn = total / total.sum() if phase.sampler == "natural" else drawn @ (soft[:-1] / counts[:, None])
    if losses.label_smoothing > 0:
        drawn = (1 - losses.label_smoothing) * drawn + losses.label_smoothing / len(drawn)
    weights = class_weights(total, losses)
    prior = drawn if weights is None else drawn * weights
    return prior / prior.sum()


def flatten(optimiser: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors on the CPU.

    Args:
        optimiser: with its state
        network: whose parameters it has

    Returns:
        tensors by ``parameter:quantity``, of the shapes that the optimiser has
    """
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {
        f"{names[parameter]}:{quantity}": value.detach().cpu().clone().contiguous()
        for parameter, state in optimiser.state.items()
        for quantity, value in state.items()
    }


def restore(optimiser: Optimizer, network: nn.Module, flat: dict[str, Tensor]) -> None:
    """Put a flattened state back; a step count stays where the optimiser has it.

    Args:
        optimiser: of the same phase
        network: whose parameters it has
        flat: of ``flatten``, of the same shapes
    """
    parameters = dict(network.named_parameters())
    for key, value in flat.items():
        name, quantity = key.rsplit(":", 1)
        parameter = parameters[name]
        moved = value.clone() if quantity == "step" and parameter.device.type == "cpu" else value.to(parameter.device)
        optimiser.state[parameter][quantity] = moved


def statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the statistics of all batch norms by name, shape ``(width,)`` or scalars."""
    return {name: values.clone() for name, values in norm_statistics(network)}


def restore_statistics(network: nn.Module, saved: dict[str, Tensor]) -> None:
    """Put the statistics of all batch norms back.

    Args:
        network: changed in place
        saved: of ``statistics``, of the same shapes
    """
    for name, values in norm_statistics(network):
        values.copy_(saved[name])


def norm_statistics(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the statistics of all batch norms with their names, shape ``(width,)`` or scalars; no copies."""
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):
            yield from ((f"{name}.{key}", values) for key, values in module.named_buffers())
