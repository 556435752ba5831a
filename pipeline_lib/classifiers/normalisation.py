"""Normalisation of features before LDA, logistic regression or PLDA."""

from typing import Literal, Self

import numpy as np

from pipeline_lib.classifiers.inputs import as_features

_CONSTANT = 1e-7  # a feature whose deviation is smaller, relative to its size, is rounding


class Normalisation:
    """Centring on the training mean, then scaling.

    ``standardise`` divides each feature by its training deviation (population); a constant feature becomes 0
    everywhere. ``length`` divides each row by its Euclidean norm (Garcia-Romero and Espy-Wilson 2011, without their
    whitening); a row that equals the mean stays 0. ``none`` leaves the features as they are.

    Args:
        kind: "none", "standardise" or "length"

    Attributes:
        mean_: shape ``(width,)``
        scale_: what ``standardise`` divides by, 1 where a feature is constant, shape ``(width,)``
        varies_: False where a feature is constant, shape ``(width,)``
    """

    LEARNED = ("mean_", "scale_", "varies_")

    def __init__(self, kind: Literal["none", "standardise", "length"] = "standardise") -> None:
        self.kind = kind

    def fit(self, features: np.ndarray) -> Self:
        """Learn mean and deviation.

        Args:
            features: shape ``(n, width)``

        Returns:
            self, fitted
        """
        features = as_features(features)
        self.mean_ = features.mean(axis=0)
        deviation = features.std(axis=0)
        constant = deviation <= _CONSTANT * np.abs(features).max(axis=0, initial=0.0)
        self.varies_ = ~constant
        self.scale_ = np.where(constant, 1.0, deviation)
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Return the features normalised.

        Args:
            features: shape ``(n, width)``

        Returns:
            float64, shape ``(n, width)``
        """
        features = as_features(features)
        if self.kind == "none":
            return features
        centred = features - self.mean_
        if self.kind == "standardise":
            return centred * self.varies_ / self.scale_
        norm = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
