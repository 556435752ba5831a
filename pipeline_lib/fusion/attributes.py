"""A weighted mean of the experts' attributes, one weight an attribute (Härm and Alumäe, section 3.3.2)."""

from collections.abc import Sequence
from functools import partial
from typing import Self

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.availability import mix
from pipeline_lib.fusion.search import search
from pipeline_lib.metrics.attributes import concordance_of, moments

_AT_ONCE = 4_000_000


class AttributeInterpolation:
    """Interpolation with, for each attribute, the weights of the largest concordance on the tuning utterances.

    Ties go to the smaller mean squared error, then to the weights nearest to equal ones. Absent experts as in
    ``Interpolation``.

    Args:
        names: of the attributes
        step: between tried weights, in (0, 1], divides 1

    Attributes:
        weights_: shape ``(n_attributes, n_experts)``, rows sum to 1
        scores_: concordance of each attribute on the tuning utterances, in [-1, 1], shape ``(n_attributes,)``
        tried_: for each attribute the tried weights, shape ``(n_tried, n_experts)``
        criteria_: for each attribute their concordance and negative mean squared error, shape ``(n_tried, 2)``
    """

    def __init__(self, names: Sequence[str], step: float = 0.05) -> None:
        self.names = tuple(names)
        self.step = step

    @classmethod
    def of_one(cls, names: Sequence[str]) -> Self:
        """Return the interpolation of one expert, which changes nothing: its weights are 1, and no score was measured.

        Args:
            names: of the attributes
        """
        fuser = cls(names)
        fuser.weights_, fuser.scores_ = np.ones((len(fuser.names), 1)), np.empty(0)
        fuser.tried_ = [np.empty((0, 1)) for _ in fuser.names]
        fuser.criteria_ = [np.empty((0, 2)) for _ in fuser.names]
        return fuser

    def fit(self, attributes: np.ndarray, truth: np.ndarray) -> Self:
        """Search the weights.

        Args:
            attributes: shape ``(n_experts, n, n_attributes)``, NaN rows where an expert lacks the utterance
            truth: shape ``(n, n_attributes)``, NaN where not annotated; such utterances are left out

        Returns:
            self, fitted

        Raises:
            InputError: an attribute is annotated for fewer than two utterances
        """
        results = []
        for k, name in enumerate(self.names):
            known = ~np.isnan(truth[:, k])
            if known.sum() < 2:
                raise InputError(
                    f"{known.sum()} tuning utterances have {name!r} annotated, its weights need at least two"
                )
            values, expected = attributes[:, known, k : k + 1], truth[known, k]
            results.append(search(partial(_criteria, values, expected), len(values), self.step))
        self.weights_ = np.array([result.weights for result in results])
        self.scores_ = np.array([result.score for result in results])
        self.tried_ = [result.tried for result in results]
        self.criteria_ = [result.criteria for result in results]
        return self

    def predict(self, attributes: np.ndarray) -> np.ndarray:
        """Return the fused attributes.

        Args:
            attributes: shape ``(n_experts, n, n_attributes)``, NaN rows where an expert lacks the utterance

        Returns:
            shape ``(n, n_attributes)``, NaN where no expert is present
        """
        columns = [mix(attributes[:, :, k : k + 1], weights) for k, weights in enumerate(self.weights_)]
        return np.concatenate(columns, axis=1)


def _criteria(values: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return concordance and negative mean squared error of each row of weights, shape ``(n_weights, 2)``."""
    centre = float(np.median(truth))
    at_once = max(1, _AT_ONCE // (6 * values.size))
    criteria = []
    for start in range(0, len(weights), at_once):
        for mixed in mix(values, weights[start : start + at_once])[:, :, 0]:
            ccc = concordance_of(moments(truth, mixed, centre).sum(axis=0))
            criteria.append([float(ccc), -float(((mixed - truth) ** 2).mean())])
    return np.array(criteria)
