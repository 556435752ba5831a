"""Ridge regression from vectors to one attribute, on features standardised by the training utterances."""

from typing import Self

import numpy as np

from pipeline_lib.classifiers.normalisation import Normalisation


class AttributeRegression:
    """Ridge regression (Hoerl and Kennard 1970) with scikit-learn's contract.

    Args:
        ridge: L2 penalty of the weights, > 0; the bias is free

    Attributes:
        normalisation_: of the features, fitted
        coef_: weights, shape ``(width,)``
        intercept_: bias
    """

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge

    def fit(self, vectors: np.ndarray, values: np.ndarray) -> Self:
        """Learn weights and bias.

        Args:
            vectors: shape ``(n, width)``, n > 1
            values: of the attribute, on the corpus's scale, shape ``(n,)``

        Returns:
            self, fitted
        """
        from sklearn.linear_model import Ridge  # scikit-learn takes 1.7 s to import

        self.normalisation_ = Normalisation("standardise").fit(vectors)
        model = Ridge(alpha=self.ridge, solver="cholesky").fit(self.normalisation_.transform(vectors), values)
        self.coef_, self.intercept_ = model.coef_, float(model.intercept_)
        return self

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Return the attribute of each row, on the corpus's scale, shape ``(n,)``; not limited to its range.

        Args:
            vectors: shape ``(n, width)``
        """
        return self.normalisation_.transform(vectors) @ self.coef_ + self.intercept_
