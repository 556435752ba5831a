r"""Multinomial logistic regression with an L2 penalty, fitted by scikit-learn's L-BFGS.

.. math:: \min_{W, b} \; -\sum_i \log P(y_i \mid x_i) + \frac{\lambda}{2} \lVert W \rVert^2,
   \qquad P(y \mid x) \propto e^{w_y^T x + b_y}

The biases are free: at the minimum the mean posterior of the training rows *is* their label frequencies, so the
training prior can be divided out exactly, or, the same thing, subtracted from the biases as a logarithm (Härm and
Alumäe 2024, section 3.1). ``penalty`` is :math:`\lambda`; scikit-learn's ``C`` is its inverse.

With balanced class weights a row of class :math:`k` counts :math:`n / (K n_k)` times in the log-loss, as scikit-learn
has it, so that the training prior is uniform.
"""

from typing import Literal, Self

import numpy as np

from pipeline_lib.classifiers.inputs import as_features, labelled, softmax
from pipeline_lib.errors import InputError

_ITERATIONS = 20_000
_FLAT = 1e-5  # largest slope, a row, that counts as the minimum


class MultinomialLogisticRegression:
    """Multinomial logistic regression with an L2 penalty and scikit-learn's contract.

    Two classes are scikit-learn's binomial model, whose first class has weights and bias 0.

    Args:
        penalty: :math:`\\lambda` > 0; 1.0 is scikit-learn's default
        class_weights: whether every class weighs alike in the loss, however many rows it has

    Attributes:
        classes_: labels that occur, shape ``(n_classes,)``
        coef_: weights, shape ``(n_classes, width)``
        intercept_: biases, shape ``(n_classes,)``
    """

    LEARNED = ("classes_", "coef_", "intercept_")

    def __init__(self, penalty: float = 1.0, class_weights: Literal["none", "balanced"] = "none") -> None:
        self.penalty = penalty
        self.class_weights = class_weights

    def fit(self, features: np.ndarray, truth: np.ndarray) -> Self:
        """Learn weights and biases.

        Args:
            features: shape ``(n, width)``
            truth: label indices, shape ``(n,)``

        Returns:
            self, fitted

        Raises:
            InputError: fewer than two classes, or no minimum was reached
        """
        import warnings

        from sklearn.exceptions import ConvergenceWarning  # scikit-learn takes 1.7 s to import
        from sklearn.linear_model import LogisticRegression

        features, self.classes_, class_of = labelled(features, truth)
        weight = None if self.class_weights == "none" else "balanced"
        model = LogisticRegression(C=1 / self.penalty, class_weight=weight, tol=1e-10, max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it stops at rounding; the slope is what we check
            model.fit(features, class_of)
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if len(self.classes_) == 2:
            self.coef_ = np.concatenate([np.zeros_like(self.coef_), self.coef_])
            self.intercept_ = np.array([0.0, self.intercept_[0]])
        slope = self._slope(features, class_of)
        if not slope <= _FLAT:
            raise InputError(
                f"logistic regression of {len(features)} rows and {features.shape[1]} features stopped at slope"
                f" {slope:.1e}, expected {_FLAT:.0e} (are the features on very different scales, or is the penalty"
                f" {self.penalty} too small?)"
            )
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return P(class | features), which contains the training prior.

        Args:
            features: shape ``(n, width)``

        Returns:
            shape ``(n, n_classes)``, rows sum to 1
        """
        return softmax(as_features(features) @ self.coef_.T + self.intercept_)

    def _slope(self, features: np.ndarray, class_of: np.ndarray) -> float:
        """Return the largest entry of the objective's gradient by weights and biases, divided by the rows."""
        excess = self.predict_proba(features)
        excess[np.arange(len(class_of)), class_of] -= 1
        if self.class_weights == "balanced":
            counts = np.bincount(class_of)
            excess *= (len(class_of) / (len(counts) * counts))[class_of][:, None]
        by_weight, by_bias = excess.T @ features + self.penalty * self.coef_, excess.sum(axis=0)
        if len(self.classes_) == 2:
            by_weight, by_bias = by_weight[1:], by_bias[1:]
        return float(max(np.abs(by_weight).max(), np.abs(by_bias).max()) / len(class_of))
