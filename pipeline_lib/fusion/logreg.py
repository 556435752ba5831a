"""Multinomial logistic regression on the posteriors (Härm and Alumäe, Odyssey 2024, section 3.3.1)."""

from typing import Literal

import numpy as np

from pipeline_lib.classifiers.logistic import MultinomialLogisticRegression
from pipeline_lib.fusion.stacking import Stacked, side_by_side


class StackedLogisticRegression(Stacked):
    """Logistic regression whose features are the experts' posteriors themselves, not their logarithms.

    The paper's "L2 penalty with the value of 1.0" is taken as scikit-learn's ``C`` = 1 / penalty = 1: half the penalty
    times the squared weights is added to the log-loss *summed* over the tuning utterances; biases are free. The fused
    posterior contains the tuning set's label prior, uniform on a balanced one.

    Args:
        penalty: L2 penalty, > 0
        class_weights: balanced: every label weighs alike in the loss, and the fused posterior contains a uniform prior
    """

    def __init__(self, penalty: float = 1.0, class_weights: Literal["none", "balanced"] = "none") -> None:
        self.penalty = penalty
        self.class_weights = class_weights

    def features(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the posteriors side by side.

        Args:
            posteriors: shape ``(n_present, n, n_labels)``

        Returns:
            shape ``(n, n_present * n_labels)``
        """
        return side_by_side(posteriors)

    def classifier(self) -> MultinomialLogisticRegression:
        """Return an unfitted logistic regression."""
        return MultinomialLogisticRegression(self.penalty, self.class_weights)
