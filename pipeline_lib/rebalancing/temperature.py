r"""Temperature calibration: one number an expert that matches its posterior's confidence to its accuracy.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2. They divide the
logits by T, which is :math:`p^{1/T} / Z`, and minimise the negative log-likelihood of held-out labels. Here the class
prior :math:`P_t` that the posterior contains is not tempered:

.. math:: p_T(y \mid x) = \frac{1}{Z} P_t(y) \left(\frac{p(y \mid x)}{P_t(y)}\right)^{1/T}

**Why this order.** :math:`p(y \mid x) / P_t(y)` is the evidence, :math:`p(x \mid y)` but for a factor of x alone. It is
the evidence that a network overstates; the prior is known by counting. :math:`p^{1/T}` contains :math:`P_t^{1/T}`, so
that a later change of prior, which divides by :math:`P_t`, leaves :math:`P_t^{1/T - 1}` behind: for T > 1 the rarer
labels are favoured, for T < 1 the commoner ones. In the order here :math:`P_t` is contained exactly, for every T, and
changing the prior before or after gives the same. T = 1 changes nothing in either. Under a uniform :math:`P_t`, as
after PLDA, or where :math:`P_t` is not known, both are the same.

**Fit.** The labelled utterances may be under another class prior f than :math:`P_t`, a balanced development set for
example; as everywhere in this package only the prior differs, :math:`p(x \mid y)` is the same. The criterion is the
expected loss under the prior that :math:`p_T` contains,

.. math:: \sum_y P_t(y) \, E_{x \mid y}[-\log p_T(y \mid x)]
   = \sum_y f(y) \, \frac{P_t(y)}{f(y)} \, E_{x \mid y}[-\log p_T(y \mid x)]

so each utterance is weighted by :math:`P_t(y) / f(y)`, f being the frequencies among them. It is least where
:math:`p_T` is the true posterior, if any T makes it so, whatever f is. Without weights T would try to make up for the
difference of the priors, which moves it either way. The price is variance: three Gaussian labels with
:math:`P_t` = (.7, .2, .1), f = (.18, .58, .24) and 2,400 utterances leave T = 2 a standard error of 0.09. Where
:math:`P_t` is not known all weights are 1. Labels that do not occur there add nothing.

In 1 / T the loss is convex: there is no other minimum. Where T changes nothing (no evidence at all) it is 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from pipeline_lib.classifiers.inputs import softmax
from pipeline_lib.rebalancing.prior import rebalance

LOWEST, HIGHEST = 0.05, 20.0  # beyond them a posterior says next to nothing, or is certain whatever it was
_SMALLEST = np.finfo(np.float64).tiny  # of a label's evidence, so that a posterior of 0 on the truth costs 708, not inf


@dataclass(frozen=True)
class Calibration:
    """A temperature and its effect on the utterances of the fit.

    Attributes:
        temperature: T, in [0.05, 20]
        before: weighted mean negative log-likelihood with T = 1, in nats
        after: the same with T
        at_bound: T is at an end of its range
    """

    temperature: float
    before: float
    after: float
    at_bound: bool


def temper(posterior: np.ndarray, training_prior: np.ndarray, temperature: float) -> np.ndarray:
    """Return the posterior with its evidence, but not its prior, raised to 1 / T.

    Args:
        posterior: p(y|x), shape ``(n, n_labels)``; a row without probability on the trained labels becomes the prior
        training_prior: the prior that it contains, shape ``(n_labels,)``; a label with 0 was not trained and stays 0
        temperature: T > 0; above 1 less confident, below 1 more confident

    Returns:
        shape ``(n, n_labels)``, rows sum to 1
    """
    return softmax(_log_evidence(posterior, training_prior) / temperature + _log(training_prior))


def fit(posterior: np.ndarray, training_prior: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Calibration:
    """Return the maximum-likelihood temperature of labelled utterances.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1
        training_prior: the prior that it contains, shape ``(n_labels,)``
        truth: label indices, shape ``(n,)``
        weights: of the utterances, shape ``(n,)``, 0 or more, not all 0

    Returns:
        temperature in [0.05, 20], and the loss before and after

    Raises:
        ValueError: no utterance has a weight above 0
    """
    used = weights > 0
    if not used.any():
        raise ValueError("no utterance to fit a temperature on")
    evidence, log_prior = _log_evidence(posterior[used], training_prior), _log(training_prior)
    truth, weights = truth[used], weights[used] / weights[used].sum()

    def loss(log_temperature: float) -> float:
        scores = evidence * np.exp(-log_temperature) + log_prior
        largest = scores.max(axis=1)
        total = largest + np.log(np.exp(scores - largest[:, None]).sum(axis=1))
        return float(weights @ (total - scores[np.arange(len(truth)), truth]))

    bounds = float(np.log(LOWEST)), float(np.log(HIGHEST))
    result = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-10, "maxiter": 500})
    best = min((0.0, float(result.x), *bounds), key=lambda point: round(loss(point), 12))  # 1 unless another gains
    at_bound = min(best - bounds[0], bounds[1] - best) < 1e-6
    return Calibration(float(np.exp(best)), loss(0.0), loss(best), at_bound)


def weights_of(truth: np.ndarray, training_prior: np.ndarray) -> np.ndarray:
    """Return the utterances' importance weights: the label's share in training by its share here.

    Args:
        truth: label indices, shape ``(n,)``
        training_prior: the prior that the posterior contains, shape ``(n_labels,)``

    Returns:
        shape ``(n,)``, 0 or more
    """
    frequency = np.bincount(truth, minlength=len(training_prior)) / len(truth)
    return training_prior[truth] / frequency[truth]


def _log_evidence(posterior: np.ndarray, training_prior: np.ndarray) -> np.ndarray:
    """Return log p(y|x) / P_t(y), normalised over the trained labels; a 0 stays finite."""
    return np.log(np.maximum(rebalance(posterior, training_prior, (training_prior > 0).astype(np.float64)), _SMALLEST))


def _log(prior: np.ndarray) -> np.ndarray:
    return np.log(prior, out=np.full(len(prior), -np.inf), where=prior > 0)
