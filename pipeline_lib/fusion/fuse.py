"""Choose a fuser by name, fit it on the tuning set, fuse every utterance; and once more by cross-fitting.

A fuser has scikit-learn's contract, with the experts as the first axis: ``fit(posteriors (n_experts, n, n_labels),
truth (n,), expert_sets=None) -> self`` and ``predict_proba(posteriors) -> (n, n_labels)``, rows summing to 1. An expert
that lacks an utterance has NaN there; ``expert_sets`` are the sets of present experts to fit for.

Härm and Alumäe fit the fusion on dev_bal and print its score on dev_bal: resubstitution, too high (by 0.03 of macro-F1
for logistic regression in their table 3). ``crossfitted`` holds the same utterances, fused by weights fitted on other
speakers; print both. What the experts were fitted and chosen on stays in the ``provenance`` of both. Class biases are
tuned on what fusers of other speakers predict of what is fitted on: neither weights nor biases of the cross-fitted
posterior know the utterance's speaker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import comb
from typing import Any

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.attributes import AttributeInterpolation
from pipeline_lib.fusion.availability import available, patterns
from pipeline_lib.fusion.biases import Biased, biased, tune
from pipeline_lib.fusion.folds import folds
from pipeline_lib.fusion.inputs import Inputs, gather
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.logreg import StackedLogisticRegression
from pipeline_lib.fusion.plda import StackedPLDA
from pipeline_lib.fusion.selection import Selection
from pipeline_lib.fusion.stacking import Stacked
from pipeline_lib.fusion.vote import Vote
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance

Fuser = Interpolation | StackedLogisticRegression | StackedPLDA | Selection | Vote
FUSERS: dict[str, type[Fuser]] = {
    "interpolation": Interpolation,
    "logreg": StackedLogisticRegression,
    "plda": StackedPLDA,
    "selection": Selection,
    "vote": Vote,
}
MOST_POINTS = 1_000_000  # of a grid of weights, beyond which a warning names the selection


@dataclass(frozen=True)
class Fusion:
    """A fitted fusion and its predictions.

    Attributes:
        fused: every utterance
        crossfitted: the tuning utterances, from fusers fitted on other speakers; None where there was no cross-fitting
        inputs: the experts' values and the truth
        fuser: fitted on the tuning set, with biases where they were tuned; None without posteriors
        attribute_fuser: likewise; None without attributes
    """

    fused: Predictions
    crossfitted: Predictions | None
    inputs: Inputs
    fuser: Fuser | Biased | None
    attribute_fuser: AttributeInterpolation | None


def make(settings: FusionSettings) -> Fuser:
    """Return the fuser of ``settings.method``, not fitted."""
    options = getattr(settings, settings.method).model_dump() if settings.method != "vote" else {}
    if settings.method in ("interpolation", "selection"):
        options["objective"] = settings.objective
    if settings.method == "selection":
        options["seed"] = settings.seed
    return FUSERS[settings.method](**options)


def fuse(
    experts: Sequence[Predictions], manifest: Manifest, settings: FusionSettings, *, crossfit: bool = True
) -> Fusion:
    """Fit the chosen fuser on the tuning utterances and fuse every utterance that an expert predicts.

    One expert alone, without class biases, is passed through unchanged: nothing is fitted, no tuning utterance needed.

    Args:
        experts: in the order of ``settings.experts``, rebalanced; each may have posteriors, attributes or both
        manifest: utterances, truth, speakers and the tuning set
        settings: which fuser, and its options
        crossfit: whether the tuning utterances are fused once more, by fusers fitted on other speakers

    Returns:
        fused predictions of every utterance, cross-fitted ones of the tuning utterances, and the fitted fusers

    Raises:
        InputError: see ``inputs.gather``; or the method needs a label that no tuning utterance has
    """
    if len(experts) == 1 and not settings.has_biases:
        return _passed_through(experts[0], manifest)
    inputs = gather(experts, manifest, settings.tuning, allow_test=settings.allow_test_tuning)
    before = Provenance.joined(expert.provenance for expert in experts)
    fits = settings.method != "vote" or settings.has_biases or inputs.attributes is not None
    after = Provenance.joined([before, *([inputs.read] if fits else [])])
    common: dict[str, Any] = {"expert": "fused", "labels": inputs.labels, "attribute_names": inputs.attribute_names}
    fused = Predictions(inputs.ids, provenance=after, **common)
    fuser, attribute_fuser = None, None
    if (posteriors := inputs.posteriors) is not None:
        _refuse_absent_labels(inputs, available(posteriors), settings)
        _warn_of_grid(len(posteriors), settings)
        fuser = _fit_posterior(inputs, posteriors, inputs.tuning, patterns(available(posteriors)), settings)
        fused = replace(fused, training_prior=contained_prior(inputs, fuser), posterior=fuser.predict_proba(posteriors))
    if (attributes := inputs.attributes) is not None:
        attribute_fuser = _fit_attributes(inputs, attributes, inputs.tuning, settings)
        fused = replace(fused, attributes=attribute_fuser.predict(attributes))
    crossfitted = None
    if crossfit:
        table = Predictions(inputs.ids[inputs.tuning], provenance=before, **common)
        crossfitted = _crossfitted(table, inputs, settings)
    return Fusion(fused, crossfitted, inputs, fuser, attribute_fuser)


def _passed_through(expert: Predictions, manifest: Manifest) -> Fusion:
    """Return one expert's predictions as the fused ones, by weights of 1; nothing is fitted."""
    inputs = gather([expert], manifest, None)
    fused = Predictions(
        inputs.ids,
        expert="fused",
        labels=inputs.labels,
        attribute_names=inputs.attribute_names,
        training_prior=expert.training_prior,
        provenance=expert.provenance,
    )
    fuser, attribute_fuser = None, None
    if inputs.posteriors is not None:
        fuser, fused = Interpolation.of_one(), replace(fused, posterior=inputs.posteriors[0])
    if inputs.attributes is not None:
        attribute_fuser = AttributeInterpolation.of_one(inputs.attribute_names)
        fused = replace(fused, attributes=inputs.attributes[0])
    return Fusion(fused, fused, inputs, fuser, attribute_fuser)


def _crossfitted(table: Predictions, inputs: Inputs, settings: FusionSettings) -> Predictions:
    """Return the table of the tuning utterances with values from fusers fitted on other speakers."""
    speakers = [speaker for speaker, tuned in zip(inputs.speakers, inputs.tuning, strict=True) if tuned]
    fold = folds(inputs.truth[inputs.tuning], speakers, settings.crossfit_folds, settings.seed)
    if inputs.posteriors is not None:
        elsewhere = partial(_posterior_elsewhere, inputs, inputs.posteriors, settings)
        table = replace(table, posterior=_crossfit(inputs, fold, elsewhere))
        _warn_of_absent_labels(inputs, fold, settings)
    if inputs.attributes is not None:
        elsewhere = partial(_attributes_elsewhere, inputs, inputs.attributes, settings)
        table = replace(table, attributes=_crossfit(inputs, fold, elsewhere))
    return table


def _fit_posterior(
    inputs: Inputs, posteriors: np.ndarray, fit: np.ndarray, expert_sets: np.ndarray, settings: FusionSettings
) -> Fuser | Biased:
    """Return the fuser, with biases where they are tuned, fitted on the labelled utterances of the mask ``fit``."""
    rows = fit & (inputs.truth >= 0)
    if not rows.any():
        raise InputError(
            f"cross-fitting leaves no labelled utterance of {settings.tuning} to fit on (is one speaker's all that is?)"
        )
    fuser = make(settings).fit(posteriors[:, rows], inputs.truth[rows], expert_sets)
    if not settings.has_biases:
        return fuser
    speakers = [speaker for speaker, inside in zip(inputs.speakers, rows, strict=True) if inside]
    return Biased(fuser, _biases(posteriors[:, rows], inputs.truth[rows], speakers, settings))


def _biases(
    posteriors: np.ndarray, truth: np.ndarray, speakers: Sequence[str | None], settings: FusionSettings
) -> np.ndarray:
    """Return biases tuned on what fusers of other speakers predict of these utterances, shape ``(n_labels,)``."""
    fold = folds(truth, speakers, settings.crossfit_folds, settings.seed)
    held_out = np.empty(posteriors.shape[1:])
    for number in np.unique(fold):
        there = posteriors[:, fold == number]
        fuser = make(settings).fit(posteriors[:, fold != number], truth[fold != number], patterns(available(there)))
        held_out[fold == number] = fuser.predict_proba(there)
    absent = sorted({*range(posteriors.shape[2])} - {*truth.tolist()})
    if absent:
        print(f"warning: {settings.tuning} has no utterance to fit on of {len(absent)} labels, whose bias stays 0")
    return tune(held_out, truth, **settings.class_biases.model_dump())


def _posterior_elsewhere(
    inputs: Inputs, posteriors: np.ndarray, settings: FusionSettings, fit: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the fused posterior of ``rows`` by a fuser fitted on the mask ``fit``, shape ``(n_rows, n_labels)``."""
    there = posteriors[:, rows]
    return _fit_posterior(inputs, posteriors, fit, patterns(available(there)), settings).predict_proba(there)


def _fit_attributes(
    inputs: Inputs, attributes: np.ndarray, fit: np.ndarray, settings: FusionSettings
) -> AttributeInterpolation:
    """Return the attributes' fuser fitted on the mask ``fit``, shape ``(n,)``."""
    fuser = AttributeInterpolation(inputs.attribute_names, settings.interpolation.step)
    return fuser.fit(attributes[:, fit], inputs.attribute_truth[fit])


def _attributes_elsewhere(
    inputs: Inputs, attributes: np.ndarray, settings: FusionSettings, fit: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the fused attributes of ``rows`` by a fuser fitted on the mask ``fit``, ``(n_rows, n_attributes)``."""
    return _fit_attributes(inputs, attributes, fit, settings).predict(attributes[:, rows])


def _crossfit(
    inputs: Inputs, fold: np.ndarray, elsewhere: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the tuning utterances' fused values, fold by fold from fusers fitted on the other folds."""
    tuning = np.flatnonzero(inputs.tuning)
    parts = []
    for number in np.unique(fold):
        fit = np.zeros(len(inputs.ids), dtype=bool)
        fit[tuning[fold != number]] = True
        parts.append((fold == number, elsewhere(fit, tuning[fold == number])))
    fused = np.empty((len(tuning), parts[0][1].shape[1]))
    for inside, values in parts:
        fused[inside] = values
    return fused


def _refuse_absent_labels(inputs: Inputs, present: np.ndarray, settings: FusionSettings) -> None:
    """Refuse a label that a classifier would have no example of; weights and votes learn nothing of single labels."""
    if not issubclass(FUSERS[settings.method], Stacked):
        return
    fitting = inputs.tuning & (inputs.truth >= 0)
    for pattern in patterns(present):
        rows = fitting & present[pattern].all(axis=0)
        absent = [label for k, label in enumerate(inputs.labels) if not (inputs.truth[rows] == k).any()]
        if absent:
            names = [expert.expert for expert, is_in in zip(inputs.posterior_experts, pattern, strict=True) if is_in]
            raise InputError(
                f"fusion.method is {settings.method!r}, but {settings.tuning} has no utterance of {names} labelled"
                f" {absent}; use interpolation"
            )


def _warn_of_absent_labels(inputs: Inputs, fold: np.ndarray, settings: FusionSettings) -> None:
    """Print which labels a fold's fuser could not learn: they have posterior 0 there."""
    if not issubclass(FUSERS[settings.method], Stacked):
        return
    truth = inputs.truth[inputs.tuning]
    lost = [label for k, label in enumerate(inputs.labels) if len(np.unique(fold[truth == k])) == 1]
    if lost:
        print(f"warning: {settings.tuning} has {lost} in one fold only; cross-fitted, they have posterior 0 there")


def _warn_of_grid(n_experts: int, settings: FusionSettings) -> None:
    """Print that a grid of weights is too large to be searched whole."""
    points = comb(round(1 / settings.interpolation.step) + n_experts - 1, n_experts - 1)
    if settings.method == "interpolation" and points > MOST_POINTS:
        print(
            f"warning: {n_experts} experts at fusion.interpolation.step {settings.interpolation.step:g} are {points:,}"
            " combinations: the search climbs from equal weights and may end short of the best; fusion.method:"
            " selection is made for many experts"
        )


def contained_prior(inputs: Inputs, fuser: Fuser | Biased) -> np.ndarray | None:
    """Return the label prior that the fused posterior contains, None where an expert's is not known, and of a vote.

    Args:
        inputs: the experts' values; of a stacked logistic regression those that it was fitted on
        fuser: fitted

    Returns:
        shape ``(n_labels,)``
    """
    match fuser:
        case Biased():
            prior = contained_prior(inputs, fuser.fuser)
            return None if prior is None else biased(prior[None], fuser.biases_)[0]
        case Interpolation():
            experts = inputs.posterior_experts
            priors = [expert.training_prior for expert in experts if expert.training_prior is not None]
            return fuser.weights_ @ np.stack(priors) if len(priors) == len(experts) else None
        case Vote():
            return None
        case StackedLogisticRegression(class_weights="none"):
            counts = np.bincount(inputs.truth[inputs.tuning & (inputs.truth >= 0)], minlength=len(inputs.labels))
            return counts / counts.sum()
        case _:
            return np.full(len(inputs.labels), 1 / len(inputs.labels))
