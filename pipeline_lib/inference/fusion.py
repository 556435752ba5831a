"""A fitted fusion applied to experts' predictions of any utterances; nothing is fitted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.availability import available, patterns
from pipeline_lib.fusion.biases import Biased, biased
from pipeline_lib.fusion.fuse import Fuser, contained_prior
from pipeline_lib.fusion.inputs import Inputs, gather
from pipeline_lib.fusion.logreg import StackedLogisticRegression
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.fusion.stacking import Stacked
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance


def apply(fitted: Loaded, experts: Sequence[Predictions], manifest: Manifest, tuning: str) -> Predictions:
    """Return the fused predictions of every utterance that an expert predicts, in the order of the manifest.

    Args:
        fitted: read from models/fusion
        experts: rebalanced, in the order of ``fusion.experts``
        manifest: the utterances; its labels need not be those of the fusion
        tuning: the set that the fusion was fitted on, recorded of a model of older code, which does not say

    Returns:
        the table ``fused``; ``training_prior`` is None of logistic regression, whose prior is that of its tuning set

    Raises:
        InputError: the experts are not those of the fitted fusion, or an utterance has a set of experts that no
            classifier was fitted for
    """
    inputs = gather(experts, replace(manifest, labels=fitted.labels or manifest.labels), None)
    _refuse_others(fitted, inputs)
    own = fitted.provenance
    if not own.is_recorded and len(experts) > 1:
        own = replace(own, fitted_on=(*own.fitted_on, tuning))
    fused = Predictions(
        inputs.ids,
        expert="fused",
        labels=inputs.labels,
        attribute_names=inputs.attribute_names,
        provenance=Provenance.joined([own, *(expert.provenance for expert in experts)]),
    )
    if fitted.fuser is not None and inputs.posteriors is not None:
        stacked = fitted.fuser.fuser if isinstance(fitted.fuser, Biased) else fitted.fuser
        if isinstance(stacked, Stacked):
            _refuse_sets(stacked, inputs)
        posterior = fitted.fuser.predict_proba(inputs.posteriors)
        fused = replace(fused, posterior=posterior, training_prior=_prior(fitted.fuser, inputs))
    if fitted.attribute_fuser is not None and inputs.attributes is not None:
        fused = replace(fused, attributes=fitted.attribute_fuser.predict(inputs.attributes))
    return fused


def _refuse_others(fitted: Loaded, inputs: Inputs) -> None:
    """Refuse experts other than those of the fitted fusion, or in another order."""
    for what, read, expected in (
        ("posteriors", inputs.posterior_experts, fitted.posterior_experts),
        ("attributes", inputs.attribute_experts, fitted.attribute_experts),
    ):
        names = tuple(expert.expert for expert in read)
        if names != expected:
            raise InputError(
                f"models/fusion was fitted on {what} of {list(expected)}, fusion.experts gives those of {list(names)}"
                " (params.yaml was changed since?); run the stage fusion again (dvc repro)"
            )
    if fitted.attribute_names and fitted.attribute_names != inputs.attribute_names:
        raise InputError(
            f"models/fusion was fitted on attributes {list(fitted.attribute_names)}, the experts predict"
            f" {list(inputs.attribute_names)}; run the stage fusion again (dvc repro)"
        )


def _refuse_sets(fuser: Stacked, inputs: Inputs) -> None:
    """Refuse utterances that lack an expert where no classifier was fitted for the others."""
    assert inputs.posteriors is not None
    present = available(inputs.posteriors)
    for pattern in patterns(present):
        if tuple(pattern.nonzero()[0].tolist()) in fuser.models_:
            continue
        names = [expert.expert for expert, has in zip(inputs.posterior_experts, pattern, strict=True) if has]
        rows = (pattern[:, None] == present).all(axis=0)
        raise InputError(
            f"{int(rows.sum())} utterances have predictions of {names} alone, {inputs.ids[rows][0]!r} first, and the"
            " fusion has no classifier of these experts; leave these utterances out, or fuse by interpolation"
        )


def _prior(fuser: Fuser | Biased, inputs: Inputs) -> np.ndarray | None:
    """Return the class prior that the posterior contains; None where it is that of what the fusion was fitted on."""
    match fuser:
        case Biased():
            prior = _prior(fuser.fuser, inputs)
            return None if prior is None else biased(prior[None], fuser.biases_)[0]
        case StackedLogisticRegression(class_weights="none"):
            return None
        case _:
            return contained_prior(inputs, fuser)
