r"""Probabilistic linear discriminant analysis: the two-covariance model, and the posterior of known classes.

Ioffe 2006 ("Probabilistic linear discriminant analysis"); Brümmer and de Villiers 2010 ("The speaker partitioning
problem") for the two-covariance form. A class has a centre, a row is its class's centre plus noise:

.. math:: y_c \sim N(\mu, B), \qquad x_{ci} \mid y_c \sim N(y_c, W)

**Simultaneous diagonalisation.** Let :math:`A^T W A = I` (``covariance.whitening``), and let :math:`Q` hold the
eigenvectors of :math:`A^T B A`, with eigenvalues :math:`\psi`. With :math:`V = A Q` we have :math:`V^T W V = I` and
:math:`V^T B V = \operatorname{diag}(\psi)`: on the axes :math:`u = V^T (x - \mu)` every dimension is independent,
:math:`y \sim N(0, \psi)` and :math:`u \mid y \sim N(y, 1)`.

**Predictive density.** By Bayes' rule the centre of a class of which :math:`n_c` rows with mean :math:`\bar u_c` were
seen has precision :math:`1/\psi + n_c`, hence

.. math:: y_c \mid \bar u_c \sim N\left(\frac{n_c \psi}{n_c \psi + 1} \bar u_c, \frac{\psi}{n_c \psi + 1}\right),
   \qquad u \mid \bar u_c \sim N\left(\frac{n_c \psi}{n_c \psi + 1} \bar u_c, 1 + \frac{\psi}{n_c \psi + 1}\right)

the second because :math:`u` adds noise of variance 1. Both forms hold for :math:`\psi = 0`. A class with few rows is
drawn to the overall mean and has the wider density: unequal counts are accounted for. Back on x,
:math:`\log p(x) = \log p(u) + \log |V|`.

**Posterior.** :math:`P(c \mid x) \propto p(x \mid \text{rows of } c)`: a uniform prior. PLDA needs no prior of the
training data divided out (Härm and Alumäe 2024, section 5); another prior is multiplied in afterwards.

**Closed form.** With class means :math:`m_c`, C classes, N rows and the within-class scatter S (shrunk, see
``covariance``): :math:`W = S / (N - C)`, :math:`\mu` the mean of the :math:`m_c`, one vote a class, and since
:math:`\operatorname{Cov}(m_c) = B + W / n_c`,

.. math:: B = \frac{1}{C-1} \sum_c (m_c - \mu)(m_c - \mu)^T - \left(\frac{1}{C} \sum_c \frac{1}{n_c}\right) W

the unweighted analysis of variance: both are unbiased, however unequal the counts. Where B would be negative along a
diagonal axis, :math:`\psi = 0`.

**EM** starts there and climbs the likelihood of the training rows. With :math:`G_c = B (B + W / n_c)^{-1}`, which
needs no inverse of B (its rank is at most C - 1):

.. math:: \hat y_c = \mu + G_c (m_c - \mu), \quad \Phi_c = G_c W / n_c

.. math:: \mu \leftarrow \frac{1}{C} \sum_c \hat y_c, \quad
   B \leftarrow \frac{1}{C} \sum_c \Phi_c + (\hat y_c - \mu)(\hat y_c - \mu)^T, \quad
   W \leftarrow \frac{1}{N} \Big(S + \sum_c n_c \left[\Phi_c + (m_c - \hat y_c)(m_c - \hat y_c)^T\right]\Big)

Maximum likelihood takes B too small by about (C - 1) / C, which widens nothing when classes have many rows.
"""

from typing import Literal, Self

import numpy as np

from pipeline_lib.classifiers.covariance import ClassStatistics, Shrinkage, class_statistics, signed, whitening
from pipeline_lib.classifiers.inputs import as_features, softmax


class PLDA:
    """Two-covariance PLDA with known classes.

    Args:
        shrinkage: of the within-class covariance, in [0, 1] or "ledoit_wolf", see ``covariance``
        estimation: "closed_form" or "em"
        iterations: of EM at most
        tolerance: EM stops when a row's mean log-likelihood rises by less, in nats

    Attributes:
        classes_: labels that occur, shape ``(n_classes,)``
        mean_: overall mean, shape ``(width,)``
        axes_: V, shape ``(width, rank)``; columns by falling ``between_``, largest entry positive
        between_: psi, between-class variance along each axis where the within-class variance is 1, shape ``(rank,)``
        centres_: mean of each class's predictive density on the axes, shape ``(n_classes, rank)``
        variances_: its variance, shape ``(n_classes, rank)``
        log_volume_: log |V|, a scalar
        log_likelihood_: of the training rows before the first and after each iteration of EM; empty for closed form
    """

    LEARNED = ("classes_", "mean_", "axes_", "between_", "centres_", "variances_", "log_volume_")

    def __init__(
        self,
        shrinkage: Shrinkage = 0.0,
        estimation: Literal["closed_form", "em"] = "closed_form",
        iterations: int = 100,
        tolerance: float = 1e-8,
    ) -> None:
        self.shrinkage = shrinkage
        self.estimation = estimation
        self.iterations = iterations
        self.tolerance = tolerance

    def fit(self, features: np.ndarray, truth: np.ndarray) -> Self:
        """Learn the model and each class's predictive density.

        Args:
            features: shape ``(n, width)``
            truth: label indices, shape ``(n,)``

        Returns:
            self, fitted

        Raises:
            InputError: fewer than two classes, or no variation within any class
        """
        statistics = class_statistics(features, truth, self.shrinkage)
        white, volume = whitening(statistics.within)
        means = statistics.means @ white  # on axes without null directions
        within, between, mean = _closed_form(means, statistics.counts)
        self.log_likelihood_: list[float] = []
        if self.estimation == "em":
            scatter = white.T @ statistics.scatter @ white
            reduced = ClassStatistics(statistics.classes, statistics.counts, means, scatter)
            within, between, mean = self._climb(reduced, within, between, mean)
        again, volume_again = whitening(within)
        variances, turn = np.linalg.eigh(again.T @ between @ again)
        self.classes_ = statistics.classes
        self.between_ = np.maximum(variances[::-1], 0.0)
        self.axes_ = signed(white @ again @ turn[:, ::-1])
        overall = statistics.means.mean(axis=0)
        self.mean_ = overall + np.linalg.lstsq(white.T, mean - overall @ white, rcond=None)[0]
        self.log_volume_ = volume + volume_again
        seen = statistics.counts[:, None] * self.between_  # n_c psi
        self.centres_ = seen / (seen + 1) * ((statistics.means - self.mean_) @ self.axes_)
        self.variances_ = 1 + self.between_ / (seen + 1)
        return self

    def log_densities(self, features: np.ndarray) -> np.ndarray:
        """Return log p(x | the training rows of each class), in nats.

        Where directions without variance were left out it is the density on the others.

        Args:
            features: shape ``(n, width)``

        Returns:
            shape ``(n, n_classes)``
        """
        on_axes = (as_features(features) - self.mean_) @ self.axes_  # (n, rank)
        log_densities = np.empty((len(on_axes), len(self.classes_)))
        for k, (centre, variance) in enumerate(zip(self.centres_, self.variances_, strict=True)):
            log_densities[:, k] = -0.5 * ((on_axes - centre) ** 2 / variance + np.log(2 * np.pi * variance)).sum(axis=1)
        return log_densities + self.log_volume_

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return P(class | features) under a uniform class prior.

        Args:
            features: shape ``(n, width)``

        Returns:
            shape ``(n, n_classes)``, rows sum to 1
        """
        return softmax(self.log_densities(features))

    def _climb(
        self, s: ClassStatistics, within: np.ndarray, between: np.ndarray, mean: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Return W, B and the mean after EM."""
        n = s.counts.sum()
        self.log_likelihood_ = [_log_likelihood(s, within, between, mean)]
        for _ in range(self.iterations):
            gains = [between @ np.linalg.inv(between + within / count) for count in s.counts]
            centres = np.stack([mean + gain @ (m - mean) for gain, m in zip(gains, s.means, strict=True)])
            spreads = [gain @ within / count for gain, count in zip(gains, s.counts, strict=True)]
            mean = centres.mean(axis=0)
            away, off = centres - mean, s.means - centres
            between = _symmetric((sum(spreads) + away.T @ away) / len(s.counts))
            noise = sum(count * spread for count, spread in zip(s.counts, spreads, strict=True))
            within = _symmetric((s.scatter + noise + (off.T * s.counts) @ off) / n)
            self.log_likelihood_.append(_log_likelihood(s, within, between, mean))
            if self.log_likelihood_[-1] - self.log_likelihood_[-2] < self.tolerance * n:
                break
        return within, between, mean


def _closed_form(means: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W, B and the mean on axes where W is the identity; B without its negative part."""
    mean = means.mean(axis=0)
    away = means - mean
    variances, axes = np.linalg.eigh(away.T @ away / (len(means) - 1))
    variances = np.maximum(variances - (1 / counts).mean(), 0.0)
    return np.eye(means.shape[1]), (axes * variances) @ axes.T, mean


def _log_likelihood(s: ClassStatistics, within: np.ndarray, between: np.ndarray, mean: np.ndarray) -> float:
    """Return the log-likelihood of all rows: of the class means, N(mean, B + W/n), and of the rows about them."""
    n, width = s.counts.sum(), len(mean)
    log_tau = width * np.log(2 * np.pi)
    total = -0.5 * (n - len(s.counts)) * (log_tau + np.linalg.slogdet(within)[1])
    total -= 0.5 * np.trace(np.linalg.solve(within, s.scatter)) + 0.5 * width * np.log(s.counts).sum()
    for count, m in zip(s.counts, s.means, strict=True):
        covariance = between + within / count
        away = m - mean
        total -= 0.5 * (log_tau + np.linalg.slogdet(covariance)[1] + away @ np.linalg.solve(covariance, away))
    return float(total)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + matrix.T) / 2
