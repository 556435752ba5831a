"""A back end: normalisation, LDA and a classifier on an expert's embeddings.

Härm and Alumäe, Odyssey 2024, section 3.1 (logistic regression) and section 5 (PLDA).
"""

from typing import Self

import numpy as np

from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.logistic import MultinomialLogisticRegression
from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.params.rebalancing import LdaLogisticSettings, PldaSettings


class BackEnd:
    """Normalisation -> LDA -> logistic regression or PLDA, with scikit-learn's contract.

    With PLDA the shrinkage regularises LDA and PLDA alike; on LDA's axes, where the within-label covariance is the
    identity already, it changes nothing more.

    Args:
        settings: options of the parts; their class chooses between logistic regression and PLDA

    Attributes:
        classes_: labels that occur, shape ``(n_classes,)``
        prior_: the prior that the posterior contains, shape ``(n_classes,)``: label frequencies, or uniform for PLDA
    """

    def __init__(self, settings: LdaLogisticSettings | PldaSettings) -> None:
        self.settings = settings

    def fit(self, embedding: np.ndarray, truth: np.ndarray) -> Self:
        """Fit all parts.

        Args:
            embedding: shape ``(n, width)``
            truth: label indices, shape ``(n,)``

        Returns:
            self, fitted

        Raises:
            InputError: fewer than two classes, no variation within any class, or a value that is not finite
        """
        s = self.settings
        self.normalisation_ = Normalisation(s.normalisation).fit(embedding)
        features = self.normalisation_.transform(embedding)
        self.lda_ = None
        if s.components is not None:
            self.lda_ = LinearDiscriminantAnalysis(s.components, s.shrinkage).fit(features, truth)
            features = self.lda_.transform(features)
            if not self.lda_.separates:
                print("warning: the class means of these vectors are equal, so that they say nothing of the label:")
                print("the posterior is the class prior, and scores are at chance")
        self.classifier_ = self.new_classifier().fit(features, truth)
        self.classes_, counts = np.unique(truth, return_counts=True)
        weights = np.ones(len(counts)) if isinstance(s, PldaSettings) else counts
        self.prior_ = weights / weights.sum()
        return self

    def new_classifier(self) -> PLDA | MultinomialLogisticRegression:
        """Return the classifier, not fitted."""
        s = self.settings
        if isinstance(s, PldaSettings):
            return PLDA(s.shrinkage, s.estimation, s.iterations, s.tolerance)
        return MultinomialLogisticRegression(s.penalty)

    def predict_proba(self, embedding: np.ndarray) -> np.ndarray:
        """Return P(label | embedding), which contains ``prior_``.

        Args:
            embedding: shape ``(n, width)``

        Returns:
            shape ``(n, n_classes)``, rows sum to 1
        """
        features = self.normalisation_.transform(embedding)
        return self.classifier_.predict_proba(features if self.lda_ is None else self.lda_.transform(features))
