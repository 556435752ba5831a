"""Greedy selection among many experts, with replacement (Caruana et al., ICML 2004)."""

from collections.abc import Sequence
from math import ceil
from typing import Literal, Self

import numpy as np

from pipeline_lib.fusion.availability import available, mix
from pipeline_lib.fusion.interpolation import SMALLEST, Interpolation
from pipeline_lib.metrics.categories import macro_f1_of, unweighted_accuracy_of

_DECIMALS = 12  # scores closer than this are tied


class Selection(Interpolation):
    r"""A weighted mean of posteriors whose weights are how often each expert was selected.

    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004. A bag begins
    with its ``initial`` best experts; in every round the expert is added, once more or for the first time, whose mean
    with those selected before scores best on the tuning utterances:

    .. math:: P_m = \frac{1}{m} \Bigl(\sum_{i < m} P_{e_i} + P_{e_m}\Bigr)

    The round with the best score counts. Each bag chooses from a random share of the experts, at least two, and the
    weights are the mean over the bags (their section 2.3): a greedy choice on little data overfits. Ties go to the
    larger mean log-likelihood of the truth, then to the earlier expert and the earlier round. Absent experts as in
    ``Interpolation``. A round costs one pass over the utterances for each expert of the bag, where a grid of weights
    grows by powers: ten experts at a step of 0.05 are ten million combinations.

    Args:
        rounds: experts added to a bag, 1 or more
        initial: best single experts that a bag begins with
        bags: number of selections that are averaged
        bag_share: share of the experts that a bag chooses from, in (0, 1]
        objective: the score that is maximised
        seed: of the bags

    Attributes:
        weights_: shape ``(n_experts,)``, sum to 1
        score_: the objective of the weights on the tuning utterances
        tried_: the weights of every round of every bag, then ``weights_``, shape ``(n_tried, n_experts)``
        criteria_: objective and mean log-likelihood of the tried weights, shape ``(n_tried, 2)``
    """

    def __init__(
        self,
        rounds: int = 20,
        initial: int = 1,
        bags: int = 10,
        bag_share: float = 0.5,
        objective: Literal["macro_f1", "unweighted_accuracy", "log_likelihood"] = "macro_f1",
        seed: int = 1,
    ) -> None:
        super().__init__(objective=objective)
        self.rounds = rounds
        self.initial = initial
        self.bags = bags
        self.bag_share = bag_share
        self.seed = seed

    def fit(self, posteriors: np.ndarray, truth: np.ndarray, expert_sets: np.ndarray | None = None) -> Self:
        """Select experts.

        Args:
            posteriors: shape ``(n_experts, n, n_labels)``, NaN rows where an expert lacks the utterance
            truth: label indices, shape ``(n,)``
            expert_sets: sets of experts to fit for; ignored, any set can be mixed

        Returns:
            self, fitted
        """
        n_experts = len(posteriors)
        library = _Library(posteriors, truth, self.objective)
        size = min(n_experts, max(2, ceil(self.bag_share * n_experts)))
        chosen, tried, criteria = np.zeros(n_experts), [], []
        for bag in range(self.bags):
            members = np.random.default_rng([self.seed, bag]).choice(n_experts, size, replace=False)
            rounds, reached = self._bag(library, sorted(members.tolist()))
            chosen += rounds[_first_best(reached)]
            tried += rounds
            criteria += reached
        self.weights_ = chosen / self.bags
        final = self._criteria(posteriors, truth, self.weights_[None])
        self.score_ = float(final[0, 0])
        self.tried_ = np.stack([*tried, self.weights_])
        self.criteria_ = np.concatenate([np.array(criteria), final])
        return self

    def _bag(self, library: "_Library", members: Sequence[int]) -> tuple[list[np.ndarray], list[tuple[float, float]]]:
        """Return the weights after each round of one bag, shape ``(n_experts,)``, and their criteria."""
        counts = np.zeros(library.n_experts)
        library.begin()
        singles = [library.criteria(expert) for expert in members]
        order = sorted(range(len(members)), key=lambda i: (*(-value for value in _rounded(singles[i])), i))
        for i in order[: self.initial]:
            library.add(members[i])
            counts[members[i]] += 1
        tried, criteria = [], []
        if counts.any():
            tried, criteria = [counts / counts.sum()], [library.criteria()]
        for _ in range(self.rounds):
            best = library.best(members)
            library.add(best)
            counts[best] += 1
            tried.append(counts / counts.sum())
            criteria.append(library.criteria())
        return tried, criteria


class _Library:
    """The experts' posteriors on the tuning utterances, and the sum of those selected so far."""

    def __init__(self, posteriors: np.ndarray, truth: np.ndarray, objective: str) -> None:
        self.n_experts, n, self._n_labels = posteriors.shape
        self._present = available(posteriors)
        self._posteriors = np.where(self._present[:, :, None], posteriors, 0.0).transpose(0, 2, 1).copy()
        self._of_truth = self._posteriors[:, truth, np.arange(n)]  # (n_experts, n)
        self._truth, self._objective = truth, objective
        # where no selected expert is present, the others count alike
        self._all_alike = mix(posteriors, np.full(self.n_experts, 1 / self.n_experts)).T  # (n_labels, n)
        self._rows = np.arange(n)

    def begin(self) -> None:
        """Forget what was selected."""
        self._sum = np.zeros(self._posteriors.shape[1:])  # (n_labels, n)
        self._selected = np.zeros(len(self._truth))

    def add(self, expert: int) -> None:
        """Select an expert."""
        self._sum += self._posteriors[expert]
        self._selected += self._present[expert]

    def best(self, members: Sequence[int]) -> int:
        """Return the expert whose addition scores best; ties go to the likelihood, then to the earlier one."""
        if self._objective == "log_likelihood":
            scores = np.array([self._likelihood(expert) for expert in members])
        else:
            scores = np.array([self._score(expert) for expert in members])
        scores = np.round(scores, _DECIMALS)
        tied = [member for member, score in zip(members, scores, strict=True) if score == scores.max()]
        if len(tied) == 1 or self._objective == "log_likelihood":
            return tied[0]
        return tied[int(np.round([self._likelihood(expert) for expert in tied], _DECIMALS).argmax())]

    def criteria(self, expert: int | None = None) -> tuple[float, float]:
        """Return objective and mean log-likelihood of what is selected, with an expert more."""
        likelihood = self._likelihood(expert)
        return (likelihood if self._objective == "log_likelihood" else self._score(expert)), likelihood

    def _score(self, expert: int | None) -> float:
        total = self._sum if expert is None else self._sum + self._posteriors[expert]
        alone = self._count(expert) == 0
        if alone.any():
            total = np.where(alone, self._all_alike, total)
        chosen, best = np.zeros(len(self._rows), dtype=np.int64), total[0].copy()
        for label in range(1, self._n_labels):  # argmax over the first axis, several times as fast
            chosen[total[label] > best] = label
            np.maximum(best, total[label], out=best)
        cells = np.bincount(self._truth * self._n_labels + chosen, minlength=self._n_labels**2)
        score = {"macro_f1": macro_f1_of, "unweighted_accuracy": unweighted_accuracy_of}[self._objective]
        return float(score(cells.reshape(self._n_labels, self._n_labels)))

    def _likelihood(self, expert: int | None) -> float:
        of_truth = self._sum[self._truth, self._rows]
        if expert is not None:
            of_truth = of_truth + self._of_truth[expert]
        count = self._count(expert)
        alike = self._all_alike[self._truth, self._rows]
        of_truth = np.where(count > 0, of_truth / np.maximum(count, 1), alike)
        return float(np.log(np.maximum(of_truth, SMALLEST)).mean())

    def _count(self, expert: int | None) -> np.ndarray:
        """Return how many selected experts each utterance has, shape ``(n,)``."""
        return self._selected if expert is None else self._selected + self._present[expert]


def _rounded(criteria: tuple[float, float]) -> tuple[float, float]:
    return round(criteria[0], _DECIMALS), round(criteria[1], _DECIMALS)


def _first_best(criteria: Sequence[tuple[float, float]]) -> int:
    """Return the first round with the largest criteria."""
    ranked = [_rounded(each) for each in criteria]
    return ranked.index(max(ranked))
