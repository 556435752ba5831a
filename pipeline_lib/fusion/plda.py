"""PLDA on the experts' centred log-ratio posteriors."""

import numpy as np

from pipeline_lib.classifiers.covariance import Shrinkage
from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.fusion.stacking import Stacked, side_by_side


class StackedPLDA(Stacked):
    r"""PLDA whose features are log posteriors, each expert's centred to sum to 0 over the labels.

    .. math:: \operatorname{clr}(p)_y = \log p_y - \frac{1}{K} \sum_k \log p_k

    Aitchison's centred log-ratio takes a posterior off the simplex, where a Gaussian can hold. It has one direction
    without variance an expert, hence the shrinkage; in that direction all labels agree and nothing is decided. Härm and
    Alumäe score embeddings by PLDA; fusing by it is ours. The fused posterior contains a uniform prior.

    Args:
        shrinkage: of the within-label covariance, in [0, 1] or "ledoit_wolf", see ``classifiers.covariance``
        floor: smallest posterior, > 0: a smaller one counts as this, so that a saturated softmax stays finite
    """

    def __init__(self, shrinkage: Shrinkage = 0.1, floor: float = 1e-4) -> None:
        self.shrinkage = shrinkage
        self.floor = floor

    def features(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the centred log-ratios side by side.

        Args:
            posteriors: shape ``(n_present, n, n_labels)``

        Returns:
            shape ``(n, n_present * n_labels)``
        """
        logarithms = np.log(np.maximum(posteriors, self.floor))
        return side_by_side(logarithms - logarithms.mean(axis=2, keepdims=True))

    def classifier(self) -> PLDA:
        """Return an unfitted PLDA."""
        return PLDA(self.shrinkage)
