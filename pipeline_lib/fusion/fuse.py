"""Choose a fuser by name, fit it on the tuning set, fuse every utterance; and once more by cross-fitting.

A fuser keeps scikit-learn's contract, with the experts as the first axis: ``fit(posteriors (n_experts, n, n_labels),
truth (n,), expected=None) -> self`` and ``predict_proba(posteriors) -> (n, n_labels)``, rows summing to 1. An expert
that lacks an utterance has NaN there; ``expected`` are the sets of present experts to fit for.

Härm and Alumäe fit the fusion on dev_bal and print its score on dev_bal: resubstitution, too high (by 0.03 of macro-F1
for logistic regression in their table 3). ``crossfitted`` holds the same utterances, each fused by weights fitted on
other speakers; print both. Experts whose own prior was fitted on the tuning set keep that in ``fitted_on``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.attributes import AttributeInterpolation
from pipeline_lib.fusion.availability import available, patterns
from pipeline_lib.fusion.folds import folds
from pipeline_lib.fusion.inputs import Inputs, gather
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.logreg import StackedLogisticRegression
from pipeline_lib.fusion.plda import StackedPLDA
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

FUSERS = {"interpolation": Interpolation, "logreg": StackedLogisticRegression, "plda": StackedPLDA}


@dataclass(frozen=True)
class Fusion:
    """What fusion made.

    Attributes:
        fused: every utterance
        crossfitted: the tuning utterances, each from a fuser fitted on other speakers
        inputs: what was fused
        fuser: fitted on the tuning set; None without posteriors
        attribute_fuser: likewise; None without attributes
    """

    fused: Predictions
    crossfitted: Predictions
    inputs: Inputs
    fuser: Interpolation | StackedLogisticRegression | StackedPLDA | None
    attribute_fuser: AttributeInterpolation | None


def make(settings: FusionSettings) -> Interpolation | StackedLogisticRegression | StackedPLDA:
    """Return the chosen fuser, not fitted."""
    options = getattr(settings, settings.method).model_dump()
    if settings.method == "interpolation":
        options["objective"] = settings.objective
    return FUSERS[settings.method](**options)


def fuse(experts: Sequence[Predictions], manifest: Manifest, settings: FusionSettings) -> Fusion:
    """Fit the chosen fuser on the tuning utterances and fuse every utterance that an expert predicts.

    Args:
        experts: in the order of ``settings.experts``, rebalanced; each may have posteriors, attributes or both
        manifest: utterances, truth, speakers and the tuning set
        settings: which fuser, and its options

    Raises:
        InputError: see ``inputs.gather``; or the method needs a label that no tuning utterance has
    """
    inputs = gather(experts, manifest, settings.tuning)
    speakers = [speaker for speaker, tuned in zip(inputs.speakers, inputs.tuning, strict=True) if tuned]
    fold = folds(inputs.truth[inputs.tuning], speakers, settings.crossfit_folds, settings.seed)
    fuser, attribute_fuser, whole, apart = None, None, {}, {}
    if inputs.posteriors is not None:
        _refuse_absent_labels(inputs, settings)
        fuser = _fit_posterior(inputs, inputs.tuning, patterns(available(inputs.posteriors)), settings)
        whole["posterior"] = fuser.predict_proba(inputs.posteriors)
        apart["posterior"] = _crossfit(
            inputs, fold, lambda fit, rows: _posterior_elsewhere(inputs, fit, rows, settings)
        )
        _warn_of_absent_labels(inputs, fold, settings)
    if inputs.attributes is not None:
        attribute_fuser = _fit_attributes(inputs, inputs.tuning, settings)
        whole["attributes"] = attribute_fuser.predict(inputs.attributes)
        apart["attributes"] = _crossfit(
            inputs, fold, lambda fit, rows: _fit_attributes(inputs, fit, settings).predict(inputs.attributes[:, rows])
        )
    said = {"expert": "fused", "labels": inputs.labels, "attribute_names": inputs.attribute_names}
    before = tuple(dict.fromkeys(subset for expert in experts for subset in expert.fitted_on))
    after = tuple(dict.fromkeys([*before, settings.tuning]))
    fused = Predictions(inputs.ids, training_prior=_prior(inputs, fuser), fitted_on=after, **said, **whole)
    crossfitted = Predictions(inputs.ids[inputs.tuning], fitted_on=before, **said, **apart)
    return Fusion(fused, crossfitted, inputs, fuser, attribute_fuser)


def _fit_posterior(inputs: Inputs, fit: np.ndarray, expected: np.ndarray, settings: FusionSettings) -> Interpolation:
    """Return the fuser fitted on the labelled utterances of the mask."""
    rows = fit & (inputs.truth >= 0)
    if not rows.any():
        raise InputError(
            f"cross-fitting leaves no labelled utterance of {settings.tuning} to fit on (is one speaker's all that is?)"
        )
    return make(settings).fit(inputs.posteriors[:, rows], inputs.truth[rows], expected)


def _posterior_elsewhere(inputs: Inputs, fit: np.ndarray, rows: np.ndarray, settings: FusionSettings) -> np.ndarray:
    posteriors = inputs.posteriors[:, rows]
    return _fit_posterior(inputs, fit, patterns(available(posteriors)), settings).predict_proba(posteriors)


def _fit_attributes(inputs: Inputs, fit: np.ndarray, settings: FusionSettings) -> AttributeInterpolation:
    fuser = AttributeInterpolation(inputs.attribute_names, settings.interpolation.step)
    return fuser.fit(inputs.attributes[:, fit], inputs.attribute_truth[fit])


def _crossfit(
    inputs: Inputs, fold: np.ndarray, elsewhere: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the tuning utterances' values, each fold's by what was fitted on the other folds."""
    tuning = np.flatnonzero(inputs.tuning)
    found: np.ndarray | None = None
    for each in np.unique(fold):
        fit = np.zeros(len(inputs.ids), dtype=bool)
        fit[tuning[fold != each]] = True
        values = elsewhere(fit, tuning[fold == each])
        found = np.empty((len(tuning), values.shape[1])) if found is None else found
        found[fold == each] = values
    return found


def _refuse_absent_labels(inputs: Inputs, settings: FusionSettings) -> None:
    """Refuse a label that a classifier would never see; interpolation learns nothing of single labels."""
    if settings.method == "interpolation":
        return
    present = available(inputs.posteriors)
    fitting = inputs.tuning & (inputs.truth >= 0)
    for pattern in patterns(present):
        rows = fitting & present[pattern].all(axis=0)
        absent = [label for k, label in enumerate(inputs.labels) if not (inputs.truth[rows] == k).any()]
        if absent:
            names = [each.expert for each, is_in in zip(inputs.posterior_experts, pattern, strict=True) if is_in]
            raise InputError(
                f"fusion.method is {settings.method!r}, but {settings.tuning} has no utterance of {names} labelled"
                f" {absent}; use interpolation"
            )


def _warn_of_absent_labels(inputs: Inputs, fold: np.ndarray, settings: FusionSettings) -> None:
    """Say which labels a fold's fuser could not learn: they have posterior 0 there."""
    if settings.method == "interpolation":
        return
    truth = inputs.truth[inputs.tuning]
    lost = [label for k, label in enumerate(inputs.labels) if len(np.unique(fold[truth == k])) == 1]
    if lost:
        print(f"warning: {settings.tuning} has {lost} in one fold only; cross-fitted, they have posterior 0 there")


def _prior(inputs: Inputs, fuser: object) -> np.ndarray | None:
    """Return the label prior that the fused posterior contains, None where an expert does not say its own."""
    match fuser:
        case Interpolation():
            priors = [each.training_prior for each in inputs.posterior_experts]
            return None if any(each is None for each in priors) else fuser.weights_ @ np.stack(priors)
        case StackedLogisticRegression():
            counts = np.bincount(inputs.truth[inputs.tuning & (inputs.truth >= 0)], minlength=len(inputs.labels))
            return counts / counts.sum()
        case StackedPLDA():
            return np.full(len(inputs.labels), 1 / len(inputs.labels))
    return None
