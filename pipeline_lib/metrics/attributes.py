r"""Scores of attributes (arousal, valence, dominance): NumPy, pure.

CCC divides by n (Lin 1989), as audmetric does. torchmetrics divides by n - 1, which moves the score away from 0 by less
than a factor of n / (n - 1), and not at all where the two means agree.
"""

from collections.abc import Sequence

import numpy as np

from pipeline_lib.metrics.arrays import finite, ratio

RANGES = {"signed": (-1.0, 1.0), "unit": (0.0, 1.0)}  # in which attributes are trained, by ``attribute_range``


def concordance(truth: np.ndarray, prediction: np.ndarray) -> float:
    r"""Lin's concordance correlation coefficient.

    .. math:: \frac{2 \sigma_{xy}}{\sigma_x^2 + \sigma_y^2 + (\mu_x - \mu_y)^2}

    Lin, Biometrics 45 (1989), with population variances. A constant truth or prediction has covariance 0 and so scores
    0. Where both are the same constant the formula is 0 / 0: that is 0 too, agreement without variation shows no
    concordance.

    Args:
        truth: shape ``(n,)``, any scale
        prediction: shape ``(n,)``, the same scale

    Returns:
        score ∈ [-1, 1]; 1 is agreement, 0 is none

    Raises:
        ValueError: no utterance, different lengths, or a value that is not finite

    Examples:
        >>> concordance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))  # 2 (2/3) / (2/3 + 2/3 + 1)
        0.5714285714285714
    """
    truth, prediction = finite(truth, "truth"), finite(prediction, "prediction")
    if len(truth) != len(prediction):
        raise ValueError(f"truth has {len(truth)} utterances, prediction {len(prediction)}")
    return float(concordance_of(moments(truth, prediction, float(np.median(truth))).sum(axis=0)))


def moments(truth: np.ndarray, prediction: np.ndarray, centre: float) -> np.ndarray:
    """Return each utterance's terms of the concordance; the rows may be summed in any grouping.

    Args:
        truth: shape ``(n,)``
        prediction: shape ``(n,)``
        centre: near the middle of the truth; subtracting it from both leaves the score as it is and keeps its digits

    Returns:
        1, x, y, x^2, y^2 and x y, shape ``(n, 6)``
    """
    x, y = truth - centre, prediction - centre
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def concordance_of(sums: np.ndarray) -> np.ndarray:
    """Return the concordance of summed ``moments``, 0 where there is no utterance or no variation.

    Args:
        sums: shape ``(..., 6)``

    Returns:
        shape ``(...)``, ∈ [-1, 1]

    Examples:
        >>> concordance_of(moments(np.array([1.0, 2.0]), np.array([1.0, 2.0]), 1.5).sum(axis=0)).item()
        1.0
    """
    mean_x, mean_y, square_x, square_y, product = np.moveaxis(ratio(sums[..., 1:], sums[..., :1]), -1, 0)
    covariance = product - mean_x * mean_y
    spread = (square_x - mean_x**2) + (square_y - mean_y**2) + (mean_x - mean_y) ** 2
    varies = spread > 1e-14 * (square_x + square_y)  # less is rounding of two equal constants
    return np.where(varies, 2 * covariance / np.where(varies, spread, 1.0), 0.0)


def to_scale(values: np.ndarray, source: Sequence[float], target: Sequence[float]) -> np.ndarray:
    """Return values mapped linearly so that one scale's ends lie on the other's.

    Args:
        values: of any shape
        source: lowest and highest value of their scale
        target: lowest and highest value of the scale to map to

    Returns:
        float64, of the same shape
    """
    share = (np.asarray(values, dtype=np.float64) - source[0]) / (source[1] - source[0])
    return target[0] + share * (target[1] - target[0])
