"""The class prior of unlabelled utterances by EM, from a posterior that was trained under another one."""

from dataclasses import dataclass

import numpy as np

from pipeline_lib.rebalancing.prior import rebalance


@dataclass(frozen=True)
class Estimate:
    """An estimated prior and the convergence of its estimation.

    Attributes:
        prior: shape ``(n_labels,)``, sums to 1
        iterations: how many were made
        change: largest change of a label's share in the last iteration, in [0, 1]
        converged: ``change`` is not above the tolerance
    """

    prior: np.ndarray
    iterations: int
    change: float
    converged: bool


def estimate(
    posterior: np.ndarray,
    training_prior: np.ndarray,
    iterations: int = 1000,
    tolerance: float = 1e-8,
    smoothing: float = 0.0,
) -> Estimate:
    r"""Return the maximum-likelihood prior of the utterances.

    .. math:: P^{(s+1)}(y) = \frac{1}{1 + a} \left(\frac{1}{n} \sum_i P^{(s)}(y \mid x_i) + \frac{a}{K}\right), \qquad
       P^{(s)}(y \mid x_i) \propto \frac{P^{(s)}(y)}{P_t(y)} P(y \mid x_i), \qquad P^{(0)} = P_t

    Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities: a simple
    procedure", Neural Computation 2002, equations 2.9. It climbs the likelihood of the utterances and assumes that
    only the prior differs from training, and that the posterior is calibrated: an overconfident one gives nearly how
    often each label is its first choice, confusions included (``temperature`` corrects that).

    With smoothing a = 0, as published, the likelihood of an expert that tells labels apart poorly is nearly flat and
    its maximum often at an end: labels that are there get no share at all. With a > 0 the maximum of the posterior
    under a Dirichlet distribution with parameters :math:`1 + a n / K` is taken: as if a n utterances more were seen, as
    many of each label. No share is then below :math:`a / (K (1 + a))`.

    Args:
        posterior: :math:`P(y \mid x)`, shape ``(n, n_labels)``, n > 0, rows sum to 1
        training_prior: :math:`P_t`, shape ``(n_labels,)``, all > 0
        iterations: largest number of iterations
        tolerance: ends when no share moves by more
        smoothing: a, 0 or more

    Returns:
        the prior, shape ``(n_labels,)``, and whether it converged

    Raises:
        ValueError: no utterance, or a label without training example
    """
    if not len(posterior):
        raise ValueError("no utterance to estimate a prior from")
    prior, change, done = training_prior / training_prior.sum(), np.inf, 0
    while done < iterations and change > tolerance:
        seen = rebalance(posterior, training_prior, prior).mean(axis=0)
        moved = (seen + smoothing / len(seen)) / (1 + smoothing)
        change, prior, done = float(np.abs(moved - prior).max()), moved, done + 1
    return Estimate(prior, done, change, change <= tolerance)
