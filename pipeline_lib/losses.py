"""What training minimises: pure functions of float32 tensors, and the dict of weights that combines them.

Aim: one definition of each loss, held equal to ``pipeline_lib.metrics`` (NumPy) by a test to 1e-6.

Conventions: a label of -1, a distribution of zeros and an attribute of NaN are missing: they add nothing to a loss and
nothing to a gradient. A batch in which everything is missing has loss 0 and gradient 0. Logits of any precision are
taken to float32 first.

Losses: ``cross_entropy`` (class weights), ``focal`` (Lin et al. 2017, class weights), ``concordance`` (1 - CCC). The
truth of the first two is a label an utterance or a distribution over labels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-8  # in the denominator of CCC, against 0/0; moves the CCC of variances around 0.1 by less than 1e-7
SMALLEST = 1e-12  # of 1 - p under the focal exponent, whose slope at 0 is infinite for exponents below 1


def cross_entropy(logits: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return the weighted mean of the negative log posteriors.

    .. math:: -\frac{\sum_i \sum_k t_{ik} w_k \log p_{ik}}{\sum_i \sum_k t_{ik} w_k}

    Args:
        logits: shape ``(batch, n_labels)``
        truth: label indices, int64, shape ``(batch,)``, -1 where missing; or distributions t, float, shape
            ``(batch, n_labels)``, zeros where missing
        weights: one weight a label, shape ``(n_labels,)``; None for 1

    Returns:
        a scalar in [0, inf)
    """
    return focal(logits, truth, gamma=0.0, weights=weights)


def focal(logits: Tensor, truth: Tensor, gamma: float, weights: Tensor | None = None) -> Tensor:
    r"""Return the focal loss, which counts less what is already right.

    .. math:: -\frac{\sum_i \sum_k t_{ik} w_k (1 - p_{ik})^\gamma \log p_{ik}}{\sum_i \sum_k t_{ik} w_k}

    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017, equation 5. They divide by
    the number of foreground boxes; here it is the sum of weights, so that gamma 0 is the cross-entropy. The paper has
    one label an example, :math:`t_{ik} = [k = y_i]`; with distributions each label's term is weighted by its share.
    Only with gamma 0 is p = t then the minimum of an utterance's loss.

    Args:
        logits: shape ``(batch, n_labels)``
        truth: label indices, int64, shape ``(batch,)``, -1 where missing; or distributions t, float, shape
            ``(batch, n_labels)``, zeros where missing
        gamma: 0 or more; 2 in the paper
        weights: one weight a label, shape ``(n_labels,)``; None for 1

    Returns:
        a scalar in [0, inf)
    """
    known = truth.sum(dim=1) > 0 if truth.is_floating_point() else truth >= 0
    if not bool(known.any()):
        return logits.float().sum() * 0.0
    log_posterior = functional.log_softmax(logits[known].float(), dim=1)  # (n_known, n_labels)
    truth = truth[known] if truth.is_floating_point() else functional.one_hot(truth[known], logits.shape[1])
    share = truth.to(log_posterior) if weights is None else truth.to(log_posterior) * weights.to(log_posterior)
    loss = -log_posterior
    if gamma > 0:
        loss = loss * (-torch.expm1(log_posterior)).clamp_min(SMALLEST).pow(gamma)
    return (share * loss).sum(dim=1).sum() / share.sum(dim=1).sum()


def concordance(prediction: Tensor, truth: Tensor) -> Tensor:
    r"""Return one minus the concordance correlation coefficient, averaged over attributes.

    .. math:: 1 - \frac{2 \sigma_{y\hat{y}}}{\sigma_y^2 + \sigma_{\hat{y}}^2 + (\mu_y - \mu_{\hat{y}})^2 + \epsilon}

    Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 1989. Variances and covariance
    are population ones (divided by n). TalTech, section 3.1, minimises -CCC: the same gradient. An attribute with fewer
    than two known values in the batch is left out of the average; a constant one has CCC 0 and stays finite through
    epsilon.

    Args:
        prediction: shape ``(batch, n_attributes)``
        truth: shape ``(batch, n_attributes)``, NaN where missing

    Returns:
        a scalar in [0, 2]
    """
    prediction, truth = prediction.float(), truth.float()
    known = ~truth.isnan()
    count = known.sum(dim=0)  # (n_attributes,)
    used = count >= 2
    if not bool(used.any()):
        return torch.where(known, prediction, 0.0).sum() * 0.0
    share = known / count.clamp_min(1)  # (batch, n_attributes), columns sum to 1
    truth, prediction = torch.where(known, truth, 0.0), torch.where(known, prediction, 0.0)
    truth_mean, prediction_mean = (share * truth).sum(0), (share * prediction).sum(0)
    from_truth, from_prediction = truth - truth_mean, prediction - prediction_mean
    covariance = (share * from_truth * from_prediction).sum(0)
    spread = (share * (from_truth.square() + from_prediction.square())).sum(0)
    ccc = 2 * covariance / (spread + (truth_mean - prediction_mean).square() + EPSILON)
    return 1 - ccc[used].mean()


def combined(
    outputs: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    class_weights: Tensor | None = None,
    focal_gamma: float = 2.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the named losses, and each of them unweighted.

    Args:
        outputs: a network's ``logits``, ``attributes`` and ``gender``, as far as its losses read them
        batch: ``emotion``, labels or distributions as in ``focal``; ``attributes`` (batch, n_attributes) with NaN for
            missing; ``gender`` (batch,) with -1 for missing
        weights: ``{"cross_entropy": 1.0, "concordance": 0.5}``; a loss of weight 0 is not computed
        class_weights: shape ``(n_labels,)``, for cross_entropy and focal
        focal_gamma: for focal

    Raises:
        ValueError: there is no loss of that name, or all weights are 0
    """
    parts: dict[str, Tensor] = {}
    for name in sorted(name for name, weight in weights.items() if weight > 0):
        match name:
            case "cross_entropy":
                parts[name] = cross_entropy(outputs["logits"], batch["emotion"], class_weights)
            case "focal":
                parts[name] = focal(outputs["logits"], batch["emotion"], focal_gamma, class_weights)
            case "concordance":
                parts[name] = concordance(outputs["attributes"], batch["attributes"])
            case "gender":
                parts[name] = cross_entropy(outputs["gender"], batch["gender"])
            case _:
                raise ValueError(f"there is no loss {name!r}")
    if not parts:
        raise ValueError(f"no loss has a weight above 0 in {dict(weights)}")
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts
