"""Summary of a fusion: weights and scores on the tuning set, a line a target."""

import numpy as np

from pipeline_lib.fusion.biases import Biased
from pipeline_lib.fusion.fuse import Fusion
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.categories import macro_f1
from pipeline_lib.params.fusion import FusionSettings

MANY = 8  # experts, above which those without weight are counted only


def describe(fusion: Fusion, settings: FusionSettings) -> list[str]:
    """Return a line for the posterior and one an attribute: weights, score as fitted and, where it was, cross-fitted.

    Args:
        fusion: a fitted fusion
        settings: the options it was fitted with

    Returns:
        one line for categories where there are posteriors, then one for each attribute
    """
    if settings.passes_through:
        return [f"{settings.experts[0]} is the one expert: passed through unchanged, nothing is fitted"]
    inputs, lines = fusion.inputs, []
    tuning, fused, crossfitted = inputs.tuning, fusion.fused, fusion.crossfitted
    if fusion.fuser is not None and fused.posterior is not None:
        experts = [expert.expert for expert in inputs.posterior_experts]
        chosen = f"{settings.method} of {', '.join(experts)}"
        fuser = fusion.fuser.fuser if isinstance(fusion.fuser, Biased) else fusion.fuser
        if isinstance(fuser, Interpolation):
            chosen = f"{settings.method} of {_weights(experts, fuser.weights_)}"
        if isinstance(fusion.fuser, Biased):
            pairs = zip(inputs.labels, fusion.fuser.biases_, strict=True)
            chosen += f", biases {', '.join(f'{label} {bias:+.2g}' for label, bias in pairs)}"
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
    """Return the weights by expert; of many experts those above 0 alone, and how many have none."""
    pairs = [pair for pair in zip(experts, weights, strict=True) if len(experts) <= MANY or pair[1] > 0]
    rest = f", {len(experts) - len(pairs)} others 0" if len(pairs) < len(experts) else ""
    return ", ".join(f"{name} {weight:.4g}" for name, weight in pairs) + rest


def _scores(metric: str, scores: list[float], tuning: str) -> str:
    kinds = ("resubstituted", "cross-fitted")
    return f"{metric} on {tuning} {', '.join(f'{score:.4f} {kind}' for score, kind in zip(scores, kinds))}"
