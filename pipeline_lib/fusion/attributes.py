"""A weighted mean of the experts' attributes, one weight an attribute (Härm and Alumäe, section 3.3.2)."""

from collections.abc import Sequence
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
        step: between tried weights

    Attributes:
        weights_: shape ``(n_attributes, n_experts)``, rows sum to 1
        scores_: concordance of each on the tuning utterances, where it was fitted
        tried_, criteria_: for each attribute the weights ``(n_tried, n_experts)``, their concordance and negative error
    """

    def __init__(self, names: Sequence[str], step: float = 0.05) -> None:
        self.names = tuple(names)
        self.step = step

    def fit(self, attributes: np.ndarray, truth: np.ndarray) -> Self:
        """Find the weights.

        Args:
            attributes: shape ``(n_experts, n, n_attributes)``, NaN rows where an expert lacks the utterance
            truth: shape ``(n, n_attributes)``, NaN where not annotated; such utterances are left out

        Raises:
            InputError: an attribute is annotated for fewer than two utterances
        """
        found = []
        for k, name in enumerate(self.names):
            known = ~np.isnan(truth[:, k])
            if known.sum() < 2:
                raise InputError(
                    f"{known.sum()} tuning utterances have {name!r} annotated, its weights need at least two"
                )
            values, expected = attributes[:, known, k : k + 1], truth[known, k]
            found.append(search(lambda weights, v=values, w=expected: _criteria(v, w, weights), len(values), self.step))
        self.weights_ = np.array([each.weights for each in found])
        self.scores_ = np.array([each.score for each in found])
        self.tried_ = [each.tried for each in found]
        self.criteria_ = [each.criteria for each in found]
        return self

    def predict(self, attributes: np.ndarray) -> np.ndarray:
        """Return the fused attributes, shape ``(n, n_attributes)``."""
        columns = [mix(attributes[:, :, k : k + 1], weights) for k, weights in enumerate(self.weights_)]
        return np.concatenate(columns, axis=1)


def _criteria(values: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centre = float(np.median(truth))
    at_once = max(1, _AT_ONCE // (6 * values.size))
    found = []
    for start in range(0, len(weights), at_once):
        for mixed in mix(values, weights[start : start + at_once])[:, :, 0]:
            ccc = concordance_of(moments(truth, mixed, centre).sum(axis=0))
            found.append([float(ccc), -float(((mixed - truth) ** 2).mean())])
    return np.array(found)
