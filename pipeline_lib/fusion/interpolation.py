"""A weighted mean of the experts' posteriors (Härm and Alumäe, Odyssey 2024, section 3.3.1)."""

from typing import Literal, Self

import numpy as np

from pipeline_lib.fusion.availability import mix
from pipeline_lib.fusion.search import search
from pipeline_lib.metrics.categories import macro_f1_of, unweighted_accuracy_of

SMALLEST = np.finfo(np.float64).eps  # a probability below it counts as it does in the logarithm
_AT_ONCE = 4_000_000  # numbers of mixed posteriors held at a time


class Interpolation:
    """Interpolation with the weights that score best on the tuning utterances.

    Ties in the objective, frequent since it only counts, go to the larger mean log-likelihood of the truth, then to the
    weights nearest to equal ones. An utterance that lacks an expert takes the others with their weights scaled to sum
    to 1; where these are all 0 the others count alike.

    Args:
        step: between tried weights, in (0, 1], divides 1
        objective: the score that is maximised

    Attributes:
        weights_: shape ``(n_experts,)``, sum to 1
        score_: the objective on the tuning utterances, where it was fitted
        tried_: weights, shape ``(n_tried, n_experts)``
        criteria_: objective and mean log-likelihood of the tried weights, shape ``(n_tried, 2)``
    """

    def __init__(
        self,
        step: float = 0.05,
        objective: Literal["macro_f1", "unweighted_accuracy", "log_likelihood"] = "macro_f1",
    ) -> None:
        self.step = step
        self.objective = objective

    @classmethod
    def of_one(cls) -> Self:
        """Return the interpolation of one expert, which changes nothing: its weight is 1, and no score was measured."""
        fuser = cls()
        fuser.weights_, fuser.tried_, fuser.criteria_ = np.ones(1), np.empty((0, 1)), np.empty((0, 2))
        return fuser

    def fit(self, posteriors: np.ndarray, truth: np.ndarray, expert_sets: np.ndarray | None = None) -> Self:
        """Search the weights.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance
            truth: label indices, shape ``(n,)``
            expert_sets: sets of experts to fit for; ignored, any set can be mixed

        Returns:
            self, fitted
        """
        best = search(lambda weights: self._criteria(posteriors, truth, weights), len(posteriors), self.step)
        self.weights_, self.score_ = best.weights, best.score
        self.tried_, self.criteria_ = best.tried, best.criteria
        return self

    def predict_proba(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the fused posterior.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance

        Returns:
            shape ``(n, n_labels)``, rows sum to 1; NaN where no expert is present
        """
        return mix(posteriors, self.weights_)

    def _criteria(self, posteriors: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
        at_once = max(1, _AT_ONCE // posteriors.size)
        parts = [weights[start : start + at_once] for start in range(0, len(weights), at_once)]
        return np.concatenate([self._criteria_of(mix(posteriors, part), truth) for part in parts])

    def _criteria_of(self, mixed: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Return objective and mean log-likelihood of ``(n_weights, n, n_labels)`` posteriors, ``(n_weights, 2)``."""
        n_weights, n, n_labels = mixed.shape
        likelihood = np.log(np.maximum(mixed[:, np.arange(n), truth], SMALLEST)).mean(axis=1)
        if self.objective == "log_likelihood":
            return np.column_stack([likelihood, likelihood])
        pairs = np.arange(n_weights)[:, None] * n_labels**2 + truth * n_labels + mixed.argmax(axis=2)
        cells = np.bincount(pairs.ravel(), minlength=n_weights * n_labels**2).reshape(n_weights, n_labels, n_labels)
        score = {"macro_f1": macro_f1_of, "unweighted_accuracy": unweighted_accuracy_of}[self.objective](cells)
        return np.column_stack([score, likelihood])
