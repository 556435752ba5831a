r"""A bias a label on the fused posterior, tuned by coordinate ascent.

.. math:: P_b(y \mid x) = \frac{P(y \mid x) e^{b_y}}{\sum_k P(k \mid x) e^{b_k}}

Macro-F1 is not what a posterior is made for: the most probable label is right most often, and rare labels want a lower
threshold. A bias is the same as another class prior (``rebalancing.prior``), here the one with the best score.
"""

from typing import Any, Literal

import numpy as np

from pipeline_lib.metrics.categories import macro_f1_of, unweighted_accuracy_of

_DECIMALS = 12  # scores closer than this are tied


def biased(posterior: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Return the posterior with the biases.

    Args:
        posterior: shape ``(n, n_labels)``, rows sum to 1, or NaN
        biases: shape ``(n_labels,)``

    Returns:
        shape ``(n, n_labels)``, rows sum to 1, NaN where they were
    """
    weighted = posterior * np.exp(biases)
    return weighted / weighted.sum(axis=1, keepdims=True)


def tune(
    posterior: np.ndarray,
    truth: np.ndarray,
    objective: Literal["macro_f1", "unweighted_accuracy"] = "macro_f1",
    step: float = 0.1,
    largest: float = 2.0,
    sweeps: int = 10,
) -> np.ndarray:
    """Return the biases that score best, each a multiple of the step, found one after another.

    From zero on, each label in turn takes the bias with the best score while the others stay; ties go to the bias
    nearest to 0, of two the negative one. A sweep that changes nothing is the last. A label that never occurs in the
    truth keeps 0: whatever takes it out of the predictions would score better.

    Args:
        posterior: shape ``(n, n_labels)``, of fusers that were fitted on other utterances
        truth: label indices, shape ``(n,)``
        objective: the score that is maximised
        step: between tried biases
        largest: size of a bias
        sweeps: over the labels, at most

    Returns:
        shape ``(n_labels,)``, in [-largest, largest]
    """
    n_labels = posterior.shape[1]
    score = {"macro_f1": macro_f1_of, "unweighted_accuracy": unweighted_accuracy_of}[objective]
    steps = int(largest / step + 1e-9)
    tried = step * np.array(sorted(range(-steps, steps + 1), key=lambda number: (abs(number), number)))
    biases = np.zeros(n_labels)
    for _ in range(sweeps):
        before = biases.copy()
        for label in np.unique(truth):
            others = posterior * np.exp(biases)
            own, others[:, label] = posterior[:, label], -1.0
            rival = others.argmax(axis=1)
            bar = others[np.arange(len(truth)), rival]
            scores = []
            for bias in tried:
                value = own * np.exp(bias)
                wins = (value > bar) | ((value == bar) & (label < rival))
                cells = np.bincount(truth * n_labels + np.where(wins, label, rival), minlength=n_labels**2)
                scores.append(score(cells.reshape(n_labels, n_labels)))
            biases[label] = tried[int(np.round(scores, _DECIMALS).argmax())]
        if (biases == before).all():
            break
    return biases


class Biased:
    """A fitted fuser with biases on what it predicts.

    Args:
        fuser: fitted
        biases: shape ``(n_labels,)``

    Attributes:
        fuser: as given
        biases_: as given
    """

    def __init__(self, fuser: Any, biases: np.ndarray) -> None:
        self.fuser = fuser
        self.biases_ = biases

    def predict_proba(self, posteriors: np.ndarray) -> np.ndarray:
        """Return the fused posterior with the biases.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance

        Returns:
            shape ``(n, n_labels)``, rows sum to 1
        """
        return biased(self.fuser.predict_proba(posteriors), self.biases_)
