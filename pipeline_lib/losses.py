"""What training minimises: pure functions of float32 tensors, and the dict of weights that combines them.

Aim: one definition of each loss, held equal to ``pipeline_lib.metrics`` (NumPy) by a test to 1e-6.

Conventions: a label of -1, a distribution of zeros and an attribute of NaN are missing: they add nothing to a loss and
nothing to a gradient. A batch in which everything is missing has loss 0 and gradient 0. Logits of any precision are
taken to float32 first.

Losses: ``cross_entropy`` (class weights), ``focal`` (Lin et al. 2017, class weights), ``concordance`` (1 - CCC),
``contrastive`` and ``reconstruction`` (Chochlakis et al.), ``imagination`` and ``invariance`` (CIF-MMIN),
``multi_similarity`` (Wang et al. 2019). The truth of the first two is a label an utterance or a distribution over
labels.
"""

from collections.abc import Mapping
from typing import Any

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


def contrastive(audio: Tensor, text: Tensor, both: Tensor | None = None) -> Tensor:
    r"""Return how badly an utterance's audio and text find each other within the batch.

    .. math:: -\frac{1}{2N} \sum_i \left(\log \frac{e^{a_i \cdot t_i}}{\sum_j e^{a_i \cdot t_j}}
        + \log \frac{e^{a_i \cdot t_i}}{\sum_j e^{a_j \cdot t_i}}\right)

    Chochlakis et al., section 3.3: "the semisum of the cross-entropy losses across columns and rows of the similarity
    matrix", without temperature or normalisation of the dot products. The paper's equation 6 has no exponential and
    would take logarithms of numbers below 0; its text says cross-entropy, and that is what this is.

    Args:
        audio, text: shape ``(batch, width)``
        both: which utterances have both modalities, bool, shape ``(batch,)``; others are nobody's counterpart

    Returns:
        a scalar in [0, inf); 0 for fewer than two utterances
    """
    if both is not None:
        audio, text = audio[both], text[both]
    if not len(audio):
        return audio.float().sum() + text.float().sum()
    similarity = audio.float() @ text.float().T  # (n, n), rows are audio
    itself = torch.arange(len(similarity), device=similarity.device)
    rows, columns = functional.cross_entropy(similarity, itself), functional.cross_entropy(similarity.T, itself)
    return (rows + columns) / 2


def reconstruction(estimate: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    r"""Return the mean over utterances of the mean squared error over their frames and width, of one modality.

    .. math:: \frac{1}{N} \sum_i \frac{1}{n_i} \sum_j \frac{1}{d} \lVert \hat{H}_{ij} - H_{ij} \rVert^2

    Chochlakis et al., equation 5, which sums this over modalities. N counts the utterances that have the modality.

    Args:
        estimate, target: shape ``(batch, time, d)``
        mask: positions that count, bool, shape ``(batch, time)``: all of an utterance's, as the equation has it, or
            those that were masked

    Returns:
        a scalar in [0, inf)
    """
    error = (estimate.float() - target.float()).masked_fill(~mask[..., None], 0.0).square().sum(dim=(1, 2))
    each = error / (mask.sum(dim=1) * target.shape[2]).clamp_min(1)  # (batch,)
    return each.sum() / mask.any(dim=1).sum().clamp_min(1)


def imagination(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over vectors and their width; 0 where there is no vector.

    Args:
        estimate, target: shape ``(n, width)``

    Returns:
        a scalar in [0, inf)
    """
    if not len(estimate):
        return estimate.float().sum()
    return functional.mse_loss(estimate.float(), target.float())


def invariance(audio: Tensor, text: Tensor, both: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    r"""Return ``contrastive`` of cosines divided by a temperature, InfoNCE.

    The published code of CIF-MMIN leaves the pair itself out of the denominator, so that its loss has no lower bound of
    0, and multiplies cosines by e.

    Args:
        audio, text: shape ``(batch, width)``
        both: which utterances have both modalities, bool, shape ``(batch,)``
        temperature: above 0

    Returns:
        a scalar in [0, inf); 0 for fewer than two utterances
    """
    audio, text = (functional.normalize(each.float(), dim=1) for each in (audio, text))
    return contrastive(audio / temperature, text, both)


def multi_similarity(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    margin: float | None = None,
) -> Tensor:
    r"""Return how far utterances of one label are from each other and how near to others.

    .. math:: \frac{1}{m} \sum_i \left[
        \frac{1}{\alpha} \log\left(1 + \sum_{k \in P_i} e^{-\alpha (S_{ik} - \lambda)}\right) +
        \frac{1}{\beta} \log\left(1 + \sum_{k \in N_i} e^{\beta (S_{ik} - \lambda)}\right)\right]

    Wang, Han, Huang, Dong and Scott, "Multi-similarity loss with general pair weighting for deep metric learning", CVPR
    2019; MERSA, equation 1. S is the cosine, P are the other utterances of the label, N those of other labels. MERSA
    publishes none of the constants: the defaults are those of Wang et al.

    Args:
        embeddings: shape ``(batch, width)``
        labels: int64, shape ``(batch,)``, -1 where missing
        alpha, beta: above 0
        base: lambda
        margin: epsilon. Wang et al. keep only pairs that are hard: a negative above the utterance's farthest positive
            less epsilon, a positive below its nearest negative plus epsilon, 0.1 in the paper. MERSA's equation has no
            such choice: None keeps all

    Returns:
        a scalar in [0, inf)
    """
    if labels.is_floating_point():
        raise ValueError("multi_similarity wants one label an utterance, the truth holds distributions")
    known = labels >= 0
    labels, vectors = labels[known], functional.normalize(embeddings[known].float(), dim=1)
    if not len(labels):
        return vectors.sum()
    similarity = vectors @ vectors.T  # (m, m)
    same = labels[:, None] == labels
    positive, negative = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same
    if margin is not None:
        farthest = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
        nearest = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
        positive = positive & (similarity < nearest + margin)
        negative = negative & (similarity > farthest - margin)
    pull = _log_of_one_plus(-alpha * (similarity - base), positive) / alpha
    push = _log_of_one_plus(beta * (similarity - base), negative) / beta
    return (pull + push).mean()


def combined(
    outputs: Mapping[str, Any],
    batch: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    class_weights: Tensor | None = None,
    focal_gamma: float = 2.0,
    similarity: Mapping[str, float | None] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the named losses, and each of them unweighted.

    Args:
        outputs: a network's ``logits``, ``attributes``, ``gender``, ``sentiment`` and ``embedding``, as far as its
            losses read them; of a joint network also ``aligned``, the arguments of ``contrastive``, and
            ``reconstruction``, a list of the arguments of ``reconstruction``, whose losses are summed, and
            ``imagination`` and ``invariance``, the arguments of these
        batch: ``emotion``, labels or distributions as in ``focal``; ``attributes`` (batch, n_attributes) with NaN for
            missing; ``gender`` and ``sentiment`` (batch,) with -1 for missing
        weights: ``{"cross_entropy": 1.0, "concordance": 0.5}``; a loss of weight 0 is not computed
        class_weights: shape ``(n_labels,)``, for cross_entropy and focal
        focal_gamma: for focal
        similarity: options of multi_similarity

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
            case "gender" | "sentiment":
                parts[name] = cross_entropy(outputs[name], batch[name])
            case "contrastive":
                parts[name] = contrastive(*outputs["aligned"])
            case "reconstruction":
                parts[name] = torch.stack([reconstruction(*each) for each in outputs["reconstruction"]]).sum()
            case "imagination":
                parts[name] = imagination(*outputs["imagination"])
            case "invariance":
                parts[name] = invariance(*outputs["invariance"])
            case "multi_similarity":
                parts[name] = multi_similarity(outputs["embedding"], batch["emotion"], **(similarity or {}))
            case _:
                raise ValueError(f"there is no loss {name!r}")
    if not parts:
        raise ValueError(f"no loss has a weight above 0 in {dict(weights)}")
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts


def _log_of_one_plus(exponents: Tensor, chosen: Tensor) -> Tensor:
    """Return the logarithm of 1 plus the sum of the chosen exponentials, one a row."""
    terms = exponents.masked_fill(~chosen, -torch.inf)
    return torch.cat([terms.new_zeros(len(terms), 1), terms], dim=1).logsumexp(dim=1)
