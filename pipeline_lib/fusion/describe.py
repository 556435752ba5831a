"""What fusion chose and reached on the tuning set, in a line each."""

import numpy as np

from pipeline_lib.fusion.fuse import Fusion
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.params.fusion import FusionSettings


def describe(fusion: Fusion, settings: FusionSettings) -> list[str]:
    """Return a line for the posterior and one an attribute: weights, score as fitted and score cross-fitted."""
    inputs, lines = fusion.inputs, []
    tuning = inputs.tuning
    if fusion.fuser is not None:
        experts = [each.expert for each in inputs.posterior_experts]
        chosen = f"{settings.method} of {', '.join(experts)}"
        if isinstance(fusion.fuser, Interpolation):
            chosen = f"{settings.method} of {_weights(experts, fusion.fuser.weights_)}"
        truth = inputs.truth[tuning]
        known = truth >= 0
        scores = [
            macro_f1(truth[known], each.posterior[rows][known].argmax(axis=1), len(inputs.labels))
            for each, rows in ((fusion.fused, tuning), (fusion.crossfitted, slice(None)))
        ]
        lines.append(f"categories: {chosen}; {_scores('macro-F1', scores, settings.tuning)}")
    if fusion.attribute_fuser is not None:
        experts = [each.expert for each in inputs.attribute_experts]
        for k, name in enumerate(inputs.attribute_names):
            truth = inputs.attribute_truth[tuning, k]
            known = ~np.isnan(truth)
            scores = [
                concordance(truth[known], each.attributes[rows, k][known])
                for each, rows in ((fusion.fused, tuning), (fusion.crossfitted, slice(None)))
            ]
            weights = _weights(experts, fusion.attribute_fuser.weights_[k])
            lines.append(f"{name}: {weights}; {_scores('CCC', scores, settings.tuning)}")
    return lines


def _weights(experts: list[str], weights: np.ndarray) -> str:
    return ", ".join(f"{name} {weight:.4g}" for name, weight in zip(experts, weights, strict=True))


def _scores(metric: str, scores: list[float], tuning: str) -> str:
    return f"{metric} on {tuning} {scores[0]:.4f} resubstituted, {scores[1]:.4f} cross-fitted"
