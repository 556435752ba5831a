"""Class means and the within-class covariance, with remedies where it is singular.

Fewer utterances than dimensions, a constant feature or a feature that is a sum of others make the covariance singular.
Two remedies, in this order:

- *shrinkage* blends it with a sphere of the same mean variance, ``(1 - s) C + s trace(C)/d I``. ``s`` is given, or
  chosen by Ledoit and Wolf's formula ("A well-conditioned estimator for large-dimensional covariance matrices", 2004).
- directions still without variance (below 1e-10 of the largest) are *left out*, as by scikit-learn's svd solver.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline_lib.classifiers.inputs import labelled
from pipeline_lib.errors import InputError

Shrinkage = float | Literal["ledoit_wolf"]
_NO_VARIANCE = 1e-10  # relative to the largest variance
_ROUNDING = 1e-12  # a deviation smaller than this, relative to the values, is none


@dataclass(frozen=True)
class ClassStatistics:
    """Sufficient statistics of the training data for LDA and PLDA.

    Attributes:
        classes: labels that occur, sorted, shape ``(n_classes,)``
        counts: rows of each class, float64, shape ``(n_classes,)``
        means: shape ``(n_classes, width)``
        scatter: sum over rows of the squared distance to the class mean, shrunk, shape ``(width, width)``
    """

    classes: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """Unbiased within-class covariance, shape ``(width, width)``."""
        return self.scatter / (self.counts.sum() - len(self.classes))


def class_statistics(features: np.ndarray, truth: np.ndarray, shrinkage: Shrinkage = 0.0) -> ClassStatistics:
    """Return counts, means and the shrunk within-class scatter.

    Args:
        features: shape ``(n, width)``
        truth: label indices, shape ``(n,)``
        shrinkage: in [0, 1], or "ledoit_wolf"

    Returns:
        means of shape ``(n_classes, width)``, scatter of shape ``(width, width)``

    Raises:
        InputError: fewer than two classes, or no class varies within itself
        ValueError: the shrinkage is outside [0, 1]
    """
    features, classes, class_of = labelled(features, truth)
    width = features.shape[1]
    counts = np.bincount(class_of).astype(np.float64)
    means = np.stack([features[class_of == k].mean(axis=0) for k in range(len(classes))])
    scatter = np.zeros((width, width))
    fourth = 0.0  # sum over rows of the squared squared length, for Ledoit and Wolf
    for k in range(len(classes)):
        centred = features[class_of == k] - means[k]
        scatter += centred.T @ centred
        fourth += float(((centred**2).sum(axis=1) ** 2).sum())
    if np.trace(scatter) <= _ROUNDING**2 * (features**2).sum():
        raise InputError(
            f"no class varies within itself ({len(features)} rows of {len(classes)} classes);"
            " LDA and PLDA need two different rows of at least one class"
        )
    if shrinkage == "ledoit_wolf":
        shrinkage = ledoit_wolf(scatter, fourth, len(features))
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage is {shrinkage}, expected a share in [0, 1] or 'ledoit_wolf'")
    sphere = np.trace(scatter) / width * np.eye(width)
    return ClassStatistics(classes, counts, means, (1 - shrinkage) * scatter + shrinkage * sphere)


def ledoit_wolf(scatter: np.ndarray, fourth: float, n: int) -> float:
    r"""Return the share of the sphere with the smallest expected squared error of the covariance.

    Ledoit and Wolf 2004, section 3.

    .. math:: s = \min\left(1, \frac{1}{n^2} \sum_i \lVert x_i x_i^T - C \rVert^2 / \lVert C - \mu I \rVert^2\right)

    with :math:`C = \frac{1}{n} \sum_i x_i x_i^T` and :math:`\mu = \operatorname{tr} C / d`, for centred rows.

    Args:
        scatter: :math:`n C`, shape ``(width, width)``
        fourth: :math:`\sum_i \lVert x_i \rVert^4`
        n: number of rows

    Returns:
        share in [0, 1]; 0 where the covariance is a sphere already
    """
    covariance = scatter / n
    size = float((covariance**2).sum())
    mean_variance = np.trace(covariance) / len(covariance)
    from_sphere = size - len(covariance) * mean_variance**2
    from_rows = (fourth / n - size) / n
    if from_rows <= 0 or from_sphere <= 0:
        return 0.0
    return min(1.0, from_rows / from_sphere)


def whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Return ``A`` with ``A.T @ covariance @ A = I`` on the directions that have variance, and log |A|.

    Args:
        covariance: symmetric, positive semidefinite, shape ``(width, width)``

    Returns:
        shape ``(width, rank)``, and minus half the sum of the logarithms of the variances along the ``rank`` axes
    """
    variances, axes = np.linalg.eigh(covariance)
    varying = variances > _NO_VARIANCE * variances[-1]
    variances, axes = variances[varying], axes[:, varying]
    return axes / np.sqrt(variances), float(-0.5 * np.log(variances).sum())


def signed(axes: np.ndarray) -> np.ndarray:
    """Return the axes with the largest entry of each made positive: an eigenvector's sign is arbitrary.

    Args:
        axes: one axis a column, shape ``(width, n_axes)``

    Returns:
        same shape
    """
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1.0, 1.0)
