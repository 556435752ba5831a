"""Losses: pure functions of float32 tensors, and the dict of weights that combines them.

Aim: one definition of each loss, tested to equal ``pipeline_lib.metrics.categories`` (NumPy) to 1e-6.

Conventions: a label of -1, a distribution of zeros and an attribute of NaN are missing: they add nothing to a loss and
nothing to a gradient. A batch in which everything is missing has loss 0 and gradient 0. Logits of any precision are
cast to float32 first.

Losses: ``cross_entropy`` (class weights), ``focal`` (Lin et al. 2017, class weights), ``reconstruction`` (Chochlakis et
al.) and ``imagination`` (CIF-MMIN) are means over rows: their sum over a part of a batch, divided by the ``total`` of
the whole, adds up over the parts to the loss of the whole. Those of ``batch_losses`` are not. The truth of the first
two is a label an utterance or a distribution over labels.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline_lib.batch_losses import concordance, contrastive, invariance, multi_similarity

SMALLEST = 1e-12  # of 1 - p under the focal exponent, whose slope at 0 is infinite for exponents below 1
TINY = torch.finfo(torch.float32).tiny  # a total of 0 has a sum of 0

TOGETHER: dict[str, tuple[Callable[..., Tensor], int]] = {  # and how many of the first arguments a gradient reaches
    "concordance": (concordance, 1),
    "contrastive": (contrastive, 1),
    "invariance": (invariance, 1),
    "multi_similarity": (multi_similarity, 1),
}

Key = tuple[str, str]  # a loss and its part: reconstruction has one a pass and modality, others ''


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None, total: Tensor | None = None) -> Tensor:
    r"""Return the weighted mean of the negative log posteriors.

    .. math:: -\frac{\sum_i \sum_k t_{ik} w_k \log p_{ik}}{\sum_i \sum_k t_{ik} w_k}

    Args:
        logits: shape ``(batch, n_labels)``
        truth: label indices, int64, shape ``(batch,)``, -1 where missing; or distributions t, float, shape
            ``(batch, n_labels)``, zeros where missing
        weights: one weight a label, shape ``(n_labels,)``; None for 1
        total: the denominator, a scalar, of the whole of which this batch is a part; None for that of this batch

    Returns:
        a scalar in [0, inf)
    """
    return focal(logits, truth, gamma=0.0, weights=weights, total=total)


def focal(
    logits: Tensor,
    truth: Tensor,
    gamma: float,
    weights: Tensor | None = None,
    total: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    r"""Return the focal loss, which down-weights utterances that are already classified well.

    .. math:: -\frac{\sum_i \sum_k t_{ik} w_k (1 - p_{ik})^\gamma \log p_{ik}}{\sum_i \sum_k t_{ik} w_k}

    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017, equation 5. They divide by
    the number of foreground boxes; here it is the sum of weights, so that gamma 0 is the cross-entropy. The paper has
    one label an example, :math:`t_{ik} = [k = y_i]`; with distributions each label's term is weighted by its share.
    Only with gamma 0 is p = t then the minimum of an utterance's loss.

    With label smoothing (Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for
    computer vision", CVPR 2016, section 7) the numerator has :math:`(1 - \epsilon) t_{ik} + \epsilon / K` of K labels
    in place of :math:`t_{ik}`, and the denominator stays, as in torch's cross-entropy.

    Args:
        logits: shape ``(batch, n_labels)``
        truth: label indices, int64, shape ``(batch,)``, -1 where missing; or distributions t, float, shape
            ``(batch, n_labels)``, zeros where missing
        gamma: 0 or more; 2 in the paper
        weights: one weight a label, shape ``(n_labels,)``; None for 1
        total: the denominator, a scalar, of the whole of which this batch is a part; None for that of this batch
        smoothing: epsilon, in [0, 1)

    Returns:
        a scalar in [0, inf)
    """
    known = truth.sum(dim=1) > 0 if truth.is_floating_point() else truth >= 0
    if not bool(known.any()):
        return logits.float().sum() * 0.0
    log_posterior = functional.log_softmax(logits[known].float(), dim=1)  # (n_known, n_labels)
    truth = truth[known] if truth.is_floating_point() else functional.one_hot(truth[known], logits.shape[1])
    share = truth.to(log_posterior) if weights is None else truth.to(log_posterior) * weights.to(log_posterior)
    trained = share
    if smoothing > 0:
        trained = (1 - smoothing) * truth.to(log_posterior) + smoothing / logits.shape[1]
        trained = trained if weights is None else trained * weights.to(log_posterior)
    loss = -log_posterior
    if gamma > 0:
        loss = loss * (-torch.expm1(log_posterior)).clamp_min(SMALLEST).pow(gamma)
    return _divided((trained * loss).sum(dim=1).sum(), share.sum(dim=1).sum() if total is None else total)


def label_weight(truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the denominator of ``cross_entropy`` and ``focal``, a float32 scalar; 0 where no label is known.

    Args:
        truth: labels, shape ``(batch,)``, or distributions, shape ``(batch, n_labels)``, as in ``focal``
        weights: one weight a label, shape ``(n_labels,)``; None for 1
    """
    if truth.is_floating_point():
        known = truth[truth.sum(dim=1) > 0].float()
        return (known if weights is None else known * weights.to(known)).sum(dim=1).sum()
    known = truth[truth >= 0]
    return torch.ones_like(known).float().sum() if weights is None else weights.to(known.device)[known].float().sum()


def reconstruction(estimate: Tensor, target: Tensor, mask: Tensor, total: Tensor | None = None) -> Tensor:
    r"""Return the mean over utterances of the mean squared error over their frames and width, of one modality.

    .. math:: \frac{1}{N} \sum_i \frac{1}{n_i} \sum_j \frac{1}{d} \lVert \hat{H}_{ij} - H_{ij} \rVert^2

    Chochlakis et al., equation 5, which sums this over modalities. N counts the utterances that have the modality.

    Args:
        estimate, target: shape ``(batch, time, d)``
        mask: positions that count, bool, shape ``(batch, time)``: all of an utterance's, as the equation has it, or
            those that were masked
        total: N of the whole of which this batch is a part, a scalar; None for that of this batch

    Returns:
        a scalar in [0, inf)
    """
    error = (estimate.float() - target.float()).masked_fill(~mask[..., None], 0.0).square().sum(dim=(1, 2))
    of_utterances = error / (mask.sum(dim=1) * target.shape[2]).clamp_min(1)  # (batch,)
    return _divided(of_utterances.sum(), mask.any(dim=1).sum() if total is None else total)


def imagination(estimate: Tensor, target: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the mean squared error over vectors and their width; 0 where there is no vector.

    Args:
        estimate, target: shape ``(n, width)``
        total: number of values of the whole of which these vectors are a part, a scalar; None for that of these

    Returns:
        a scalar in [0, inf)
    """
    if not len(estimate):
        return estimate.float().sum()
    error = functional.mse_loss(estimate.float(), target.float(), reduction="sum")
    return error / estimate.numel() if total is None else _divided(error, total)


@dataclass(frozen=True)
class Mean:
    """A loss that is a mean over rows.

    Attributes:
        over: function of a total, a scalar: the sum over these rows divided by it; of None, by ``weight``
        weight: the total of these rows, a scalar
    """

    over: Callable[[Tensor | None], Tensor]
    weight: Tensor

    def value(self) -> Tensor:
        """Return the loss of these rows, a scalar."""
        return self.over(None)


@dataclass(frozen=True)
class Together:
    """A loss of all utterances together, no sum over them.

    Attributes:
        name: of the loss, in ``TOGETHER``
        arguments: tensors over utterances in their first axis, and numbers
        options: further arguments, by their names
    """

    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def reached(self) -> int:
        """Number of the first arguments that a gradient reaches."""
        return TOGETHER[self.name][1]

    def value(self) -> Tensor:
        """Return the loss of these utterances, a scalar."""
        return TOGETHER[self.name][0](*self.arguments, **self.options)


def terms(
    outputs: Mapping[str, Any],
    batch: Mapping[str, Tensor],
    names: Iterable[str],
    *,
    class_weights: Tensor | None = None,
    focal_gamma: float = 2.0,
    label_smoothing: float = 0.0,
    similarity: Mapping[str, float | None] | None = None,
) -> dict[Key, Mean | Together]:
    """Return the named losses of a batch, in the order of their names.

    Args:
        outputs: a network's, see ``combined``
        batch: the targets, see ``combined``
        names: of the losses
        class_weights: shape ``(n_labels,)``, for cross_entropy and focal; None for 1
        focal_gamma: 0 or more, for focal
        label_smoothing: in [0, 1), for cross_entropy and focal
        similarity: options of multi_similarity

    Raises:
        ValueError: there is no loss of that name
    """

    def classes(
        output: str, truth: str, weights: Tensor | None = None, gamma: float = 0.0, smoothing: float = 0.0
    ) -> Mean:
        scored = partial(focal, outputs[output], batch[truth], gamma, weights, smoothing=smoothing)
        return Mean(scored, label_weight(batch[truth], weights))

    named: dict[Key, Mean | Together] = {}
    for name in sorted(names):
        match name:
            case "cross_entropy":
                named[name, ""] = classes("logits", "emotion", class_weights, smoothing=label_smoothing)
            case "focal":
                named[name, ""] = classes("logits", "emotion", class_weights, focal_gamma, label_smoothing)
            case "gender" | "sentiment":
                named[name, ""] = classes(name, name)
            case "reconstruction":
                for part, arguments in outputs[name].items():
                    named[name, part] = Mean(partial(reconstruction, *arguments), arguments[2].any(dim=1).sum())
            case "imagination":
                estimate, target = outputs[name]
                named[name, ""] = Mean(partial(imagination, estimate, target), torch.tensor(estimate.numel()))
            case "concordance":
                named[name, ""] = Together(name, (outputs["attributes"], batch["attributes"]))
            case "contrastive" | "invariance":
                named[name, ""] = Together(name, tuple(outputs["aligned" if name == "contrastive" else name]))
            case "multi_similarity":
                named[name, ""] = Together(name, (outputs["embedding"], batch["emotion"]), dict(similarity or {}))
            case _:
                raise ValueError(f"unknown loss {name!r}")
    return named


def combined(
    outputs: Mapping[str, Any], batch: Mapping[str, Tensor], weights: Mapping[str, float], **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the named losses, and each of them unweighted.

    Args:
        outputs: a network's ``logits`` ``(batch, n_labels)``, ``attributes`` ``(batch, n_attributes)``, ``gender``
            ``(batch, 2)``, ``sentiment`` ``(batch, 3)`` and ``embedding`` ``(batch, width)``, as far as its losses read
            them; of a network of several modalities also ``aligned``, the arguments of ``contrastive``, and
            ``reconstruction``, the arguments of ``reconstruction`` by pass and modality, whose losses are summed, and
            ``imagination`` and ``invariance``, the arguments of these
        batch: ``emotion``, labels or distributions as in ``focal``; ``attributes`` ``(batch, n_attributes)`` with NaN
            for missing; ``gender`` and ``sentiment`` ``(batch,)`` with -1 for missing
        weights: ``{"cross_entropy": 1.0, "concordance": 0.5}``; a loss of weight 0 is not computed
        options: ``class_weights``, shape ``(n_labels,)``, for cross_entropy and focal; ``focal_gamma`` for focal;
            ``label_smoothing`` for both; ``similarity``, options of multi_similarity

    Returns:
        the sum, a scalar in [0, inf), and by name the losses, scalars

    Raises:
        ValueError: there is no loss of that name, or all weights are 0
    """
    chosen = terms(outputs, batch, (name for name, weight in weights.items() if weight > 0), **options)
    if not chosen:
        raise ValueError(f"no loss has a weight above 0 in {dict(weights)}")
    parts: dict[str, Tensor] = {}
    for (name, _), term in chosen.items():
        parts[name] = parts[name] + term.value() if name in parts else term.value()
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts


def _divided(value: Tensor, total: Tensor) -> Tensor:
    return value / total.to(value).clamp_min(TINY)
