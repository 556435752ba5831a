"""A classifier on the concatenated posteriors, one for each set of experts that occurs together.

An utterance that lacks an expert is fused by a classifier of the experts that it has, fitted on every tuning utterance
that has (at least) these: no value is made up for the absent one.
"""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from pipeline_lib.fusion.availability import available, patterns


class Stacked(ABC):
    """Base of the fusers that learn a classifier.

    Attributes:
        models_: from the indices of the experts that are present to their classifier
    """

    @abstractmethod
    def features(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the classifier's input.

        Args:
            posteriors: shape ``(n_present, n, n_labels)``

        Returns:
            shape ``(n, width)``
        """

    @abstractmethod
    def classifier(self) -> Any:
        """Return a classifier that is not fitted yet."""

    def fit(self, posteriors: np.ndarray, truth: np.ndarray, expert_sets: np.ndarray | None = None) -> Self:
        """Fit a classifier for each set of experts.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance
            truth: label indices, shape ``(n,)``
            expert_sets: sets of present experts to fit for, bool, shape ``(n_patterns, n_experts)``; by default those
                that occur here

        Returns:
            self, fitted

        Raises:
            InputError: a set of experts has fewer than two classes among its utterances
        """
        present = available(posteriors)
        self.models_ = {}
        for pattern in patterns(present) if expert_sets is None else expert_sets:
            rows = present[pattern].all(axis=0)
            features = self.features(posteriors[pattern][:, rows])
            self.models_[tuple(np.flatnonzero(pattern).tolist())] = self.classifier().fit(features, truth[rows])
        return self

    def predict_proba(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the fused posterior, 0 for a label it was not fitted on.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance

        Returns:
            shape ``(n, n_labels)``, rows sum to 1; all 0 where no expert is present

        Raises:
            ValueError: an utterance has a set of experts that no classifier was fitted for
        """
        present = available(posteriors)
        fused = np.zeros(posteriors.shape[1:])
        for pattern in patterns(present):
            rows = np.flatnonzero((pattern == present.T).all(axis=1))
            indices = tuple(np.flatnonzero(pattern).tolist())
            if indices not in self.models_:
                raise ValueError(
                    f"no classifier was fitted for the experts at {indices}, only for {sorted(self.models_)}"
                )
            model = self.models_[indices]
            fused[np.ix_(rows, model.classes_)] = model.predict_proba(self.features(posteriors[pattern][:, rows]))
        return fused


def side_by_side(values: np.ndarray) -> np.ndarray:
    """Return the experts' columns side by side, the first expert's first.

    Args:
        values: shape ``(n_experts, n, width)``

    Returns:
        shape ``(n, n_experts * width)``
    """
    return np.concatenate(list(values), axis=1)
