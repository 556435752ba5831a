"""Summary of a fusion: weights and scores on the tuning set, a line a target."""

import numpy as np

from pipeline_lib.fusion.fuse import Fusion
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.params.fusion import FusionSettings


def describe(fusion: Fusion, settings: FusionSettings) -> list[str]:
    """Return a line for the posterior and one an attribute: weights, score as fitted and, where it was, cross-fitted.

    Args:
        fusion: a fitted fusion
        settings: the options it was fitted with

    Returns:
        one line for categories where there are posteriors, then one for each attribute
    """
    if len(settings.experts) == 1:
        return [f"{settings.experts[0]} is the one expert: passed through unchanged, nothing is fitted"]
    inputs, lines = fusion.inputs, []
    tuning, fused, crossfitted = inputs.tuning, fusion.fused, fusion.crossfitted
    if fusion.fuser is not None and fused.posterior is not None:
        experts = [expert.expert for expert in inputs.posterior_experts]
        chosen = f"{settings.method} of {', '.join(experts)}"
        if isinstance(fusion.fuser, Interpolation):
            chosen = f"{settings.method} of {_weights(experts, fusion.fuser.weights_)}"
        truth = inputs.truth[tuning]
        known = truth >= 0
        scores = [
            macro_f1(truth[known], posterior[known].argmax(axis=1), len(inputs.labels))
            for posterior in (fused.posterior[tuning], crossfitted.posterior if crossfitted else None)
            if posterior is not None
        ]
        lines.append(f"categories: {chosen}; {_scores('macro-F1', scores, settings.tuning)}")
    if fusion.attribute_fuser is not None and fused.attributes is not None:
        experts = [expert.expert for expert in inputs.attribute_experts]
        for k, name in enumerate(inputs.attribute_names):
            truth = inputs.attribute_truth[tuning, k]
            known = ~np.isnan(truth)
            scores = [
                concordance(truth[known], attributes[:, k][known])
                for attributes in (fused.attributes[tuning], crossfitted.attributes if crossfitted else None)
                if attributes is not None
            ]
            weights = _weights(experts, fusion.attribute_fuser.weights_[k])
            lines.append(f"{name}: {weights}; {_scores('CCC', scores, settings.tuning)}")
    return lines


def _weights(experts: list[str], weights: np.ndarray) -> str:
    return ", ".join(f"{name} {weight:.4g}" for name, weight in zip(experts, weights, strict=True))


def _scores(metric: str, scores: list[float], tuning: str) -> str:
    kinds = ("resubstituted", "cross-fitted")
    return f"{metric} on {tuning} {', '.join(f'{score:.4f} {kind}' for score, kind in zip(scores, kinds))}"
