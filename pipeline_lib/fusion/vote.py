"""Hard vote: the label that most experts choose."""

from typing import Self

import numpy as np

from pipeline_lib.fusion.availability import available, mix


class Vote:
    r"""Majority of the experts' most probable labels, ties by their mean posterior; nothing is learned.

    .. math:: P(y) = \frac{v_y + \bar P(y)}{m + 1}

    :math:`v_y` of :math:`m` present experts choose :math:`y`, and the mean posterior :math:`\bar P` counts as one more,
    divided vote. It decides ties and nothing else: a label that is one vote ahead has a mean posterior above 0, so that
    :math:`\bar P` gives no other label a whole vote more. An expert with two equally probable labels votes for the
    first. Which label prior this contains is not defined.
    """

    def fit(self, posteriors: np.ndarray, truth: np.ndarray, expert_sets: np.ndarray | None = None) -> Self:
        """Return self; nothing is learned.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``
            truth: label indices, shape ``(n,)``
            expert_sets: sets of experts to fit for; ignored
        """
        return self

    def predict_proba(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the share of votes.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance

        Returns:
            shape ``(n, n_labels)``, rows sum to 1; NaN where no expert is present
        """
        present = available(posteriors)
        n_experts, n, n_labels = posteriors.shape
        chosen = np.where(present[:, :, None], posteriors, 0.0).argmax(axis=2)
        votes = np.zeros((n, n_labels))
        for expert in range(n_experts):
            rows = np.flatnonzero(present[expert])
            votes[rows, chosen[expert, rows]] += 1
        mean = mix(posteriors, np.full(n_experts, 1 / n_experts))
        return (votes + mean) / (present.sum(axis=0) + 1)[:, None]
