"""Losses of all utterances of a batch together: they are no sum over utterances, so they need the whole batch.

Conventions are those of ``losses``. ``concordance`` (1 - CCC) compares distributions, ``contrastive`` (Chochlakis et
al.), ``invariance`` (CIF-MMIN) and ``multi_similarity`` (Wang et al. 2019) compare utterances with one another.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-8  # in the denominator of CCC, against 0/0; moves the CCC of variances around 0.1 by less than 1e-7


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


def contrastive(vectors: Tensor, present: Tensor | None = None) -> Tensor:
    r"""Return the symmetric cross-entropy of retrieving an utterance's text by its audio, and its audio by its text.

    .. math:: -\frac{1}{2N} \sum_i \left(\log \frac{e^{a_i \cdot t_i}}{\sum_j e^{a_i \cdot t_j}}
        + \log \frac{e^{a_i \cdot t_i}}{\sum_j e^{a_j \cdot t_i}}\right)

    Chochlakis et al., section 3.3: "the semisum of the cross-entropy losses across columns and rows of the similarity
    matrix", without temperature or normalisation of the dot products. The paper's equation 6 has no exponential and
    would take logarithms of numbers below 0; its text says cross-entropy, and that is what this is. Of more than two
    modalities it is the mean over their pairs, which is not the paper's.

    Args:
        vectors: shape ``(batch, modalities, width)``
        present: which modalities an utterance has, bool, shape ``(batch, modalities)``; to a pair belong those that
            have both. None for all

    Returns:
        a scalar in [0, inf); a pair that fewer than two utterances have counts as 0

    Raises:
        ValueError: there are fewer than two modalities
    """
    return _mean_over_pairs(vectors.unbind(dim=1), present, _retrieval)


def invariance(vectors: Tensor, present: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    r"""Return ``contrastive`` of cosines divided by a temperature, InfoNCE.

    The published code of CIF-MMIN leaves the pair itself out of the denominator, so that its loss has no lower bound of
    0, and multiplies cosines by e.

    Args:
        vectors: shape ``(batch, modalities, width)``
        present: which modalities an utterance has, bool, shape ``(batch, modalities)``; None for all
        temperature: above 0

    Returns:
        a scalar in [0, inf); a pair that fewer than two utterances have counts as 0

    Raises:
        ValueError: there are fewer than two modalities
    """
    units = [functional.normalize(part.float(), dim=1) for part in vectors.unbind(dim=1)]
    return _mean_over_pairs(units, present, lambda one, other: _retrieval(one / temperature, other))


def multi_similarity(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    margin: float | None = None,
) -> Tensor:
    r"""Return the multi-similarity loss: utterances of one label are drawn together and away from all others.

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
        margin: epsilon. Wang et al. count only hard pairs: a negative above the utterance's farthest positive
            less epsilon, a positive below its nearest negative plus epsilon, 0.1 in the paper. MERSA's equation has no
            such choice: None counts all

    Returns:
        a scalar in [0, inf)

    Raises:
        ValueError: ``labels`` hold distributions
    """
    if labels.is_floating_point():
        raise ValueError("multi_similarity expects one label an utterance, got distributions over labels")
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


def _mean_over_pairs(
    parts: Sequence[Tensor], present: Tensor | None, loss: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the mean over pairs of modalities of the loss of the utterances that have both."""
    pairs = list(combinations(range(len(parts)), 2))
    if not pairs:
        raise ValueError(f"got vectors of {len(parts)} modality, expected at least two in the second axis")
    losses = []
    for i, j in pairs:
        chosen = slice(None) if present is None else present[:, i] & present[:, j]
        losses.append(loss(parts[i][chosen], parts[j][chosen]))
    return torch.stack(losses).mean()


def _retrieval(one: Tensor, other: Tensor) -> Tensor:
    """Return the semisum of the cross-entropies over the rows and columns of the dot products; 0 for no utterance."""
    if not len(one):
        return one.float().sum() + other.float().sum()
    similarity = one.float() @ other.float().T  # (n, n), rows are the first modality
    itself = torch.arange(len(similarity), device=similarity.device)
    rows, columns = functional.cross_entropy(similarity, itself), functional.cross_entropy(similarity.T, itself)
    return (rows + columns) / 2


def _log_of_one_plus(exponents: Tensor, chosen: Tensor) -> Tensor:
    """Return the logarithm of 1 plus the sum of the chosen exponentials, one a row."""
    terms = exponents.masked_fill(~chosen, -torch.inf)
    return torch.cat([terms.new_zeros(len(terms), 1), terms], dim=1).logsumexp(dim=1)
