r"""Linear discriminant analysis (Fisher 1936; Rao 1948) from sufficient statistics and one eigendecomposition.

The discriminants are the directions that maximise between-class over within-class variance. With
:math:`S_w = \frac{1}{N} \sum_c \sum_{i \in c} (x_i - m_c)(x_i - m_c)^T` and :math:`A^T S_w A = I` they are
:math:`A V`, where the rows of :math:`V^T` are the right singular vectors of the whitened class means,
:math:`\sqrt{n_c / N} \, (m_c - m) A`. C classes have at most C - 1 of them: *LDA to 15 dimensions* of eight emotions
(Härm and Alumäe 2024, section 3.1) is LDA to 7, for any value from 7 up the score is the same.

The within-class covariance is the maximum-likelihood one, divided by N, as in all solvers of scikit-learn 1.9. Older
svd solvers divide by N - C: projections smaller by :math:`\sqrt{1 - C / N}`, posteriors less sure, the same ranking.
"""

from typing import Self

import numpy as np

from pipeline_lib.classifiers.covariance import Shrinkage, class_statistics, signed, whitening
from pipeline_lib.classifiers.inputs import as_features, softmax

_NO_SPREAD = 1e-9  # relative to the largest singular value of the class means


class LinearDiscriminantAnalysis:
    """Projection on the discriminants, and the Gaussian classifier on them.

    Args:
        components: largest number of discriminants; ``n_components = min(components, classes - 1, rank)`` remain, by
            default without the first limit
        shrinkage: of the within-class covariance, in [0, 1] or "ledoit_wolf", see ``covariance``

    Attributes:
        classes_: labels that occur, shape ``(n_classes,)``
        priors_: their frequencies, shape ``(n_classes,)``, sum to 1
        mean_: mean of all rows, shape ``(width,)``
        components_: discriminants, the most discriminating first, shape ``(width, n_components)``; the largest entry
            of each is positive
        means_: projected class means, shape ``(n_classes, n_components)``
    """

    LEARNED = ("classes_", "priors_", "mean_", "components_", "means_")

    def __init__(self, components: int | None = None, shrinkage: Shrinkage = 0.0) -> None:
        self.components = components
        self.shrinkage = shrinkage

    def fit(self, features: np.ndarray, truth: np.ndarray) -> Self:
        """Learn the discriminants; where all class means are equal an arbitrary one is left, see ``separates``.

        Args:
            features: shape ``(n, width)``
            truth: label indices, shape ``(n,)``

        Returns:
            self, fitted

        Raises:
            InputError: fewer than two classes, or no variation within any class
        """
        statistics = class_statistics(features, truth, self.shrinkage)
        self.classes_ = statistics.classes
        self.priors_ = statistics.counts / statistics.counts.sum()
        self.mean_ = self.priors_ @ statistics.means
        away = statistics.means - self.mean_
        white, _ = whitening(statistics.scatter / len(truth))
        _, spread, axes = np.linalg.svd(np.sqrt(self.priors_)[:, None] * away @ white, full_matrices=False)
        most = len(self.classes_) - 1 if self.components is None else min(self.components, len(self.classes_) - 1)
        n_components = max(1, min(most, int((spread > _NO_SPREAD * max(spread[0], 1.0)).sum())))
        self.components_ = signed(white @ axes[:n_components].T)
        self.means_ = away @ self.components_
        return self

    @property
    def separates(self) -> bool:
        """Whether the class means differ on any discriminant; else a posterior of these features is the prior."""
        return bool(np.abs(self.means_).max() > _NO_SPREAD)

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Return the features on the discriminants, shape ``(n, n_components)``.

        Args:
            features: shape ``(n, width)``

        Raises:
            InputError: a value is not finite
        """
        return (as_features(features) - self.mean_) @ self.components_

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return P(class | features) of one Gaussian a class with a common covariance, on the discriminants.

        Args:
            features: shape ``(n, width)``

        Returns:
            shape ``(n, n_classes)``, rows sum to 1; contains the training prior
        """
        projected = self.transform(features)
        return softmax(projected @ self.means_.T - 0.5 * (self.means_**2).sum(axis=1) + np.log(self.priors_))
