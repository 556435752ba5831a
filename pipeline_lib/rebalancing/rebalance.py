"""Rebalance an expert's posterior: its own or a back end's on its embeddings, without O and X, under a target prior.

In three steps, each of which may do nothing. *Method*: the expert's own posterior, or LDA and logistic regression or
PLDA on its embeddings, fitted on train without O and X. *Calibration*: a temperature on its evidence
(``temperature.temper``), which leaves the prior that it contains. *Prior*: the training prior is divided out and the
target prior multiplied in (``prior.rebalance``). PLDA's posterior contains a uniform prior, so that a uniform target
prior changes nothing there.

Afterwards the labels are the manifest's, in its order. O and X are removed, their share goes to the others in
proportion. Attributes pass through; embeddings do not, no later stage reads them.
"""

from dataclasses import replace

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.rebalancing import TEST, EmSettings, RebalancingSettings
from pipeline_lib.rebalancing import prior, temperature
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.em import estimate
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

TRAIN, DEVELOPMENT = "train", "dev"
LOST = 0.05  # of an even share: less is worth a warning


def rebalance(predictions: Predictions, manifest: Manifest, settings: RebalancingSettings) -> Predictions:
    """Return the expert's predictions with the posterior of the chosen method under the target prior.

    Args:
        predictions: of one expert, as fine-tuning wrote them
        manifest: labels and splits; every predicted utterance is in it
        settings: method, calibration and prior

    Returns:
        labels as in the manifest; ``training_prior`` is the prior that the posterior now contains; ``fitted_on`` is
        extended by the set where a temperature was fitted or a prior counted, and by the subsets that share utterances
        with it. EM reads no labels and extends nothing, though the prior then fits those very utterances.

    Raises:
        InputError: the method or calibration needs embeddings or labels that are not there or not to be read, a label
            was never trained on, the given prior names other labels, or an utterance is unknown to the manifest
    """
    rows = _rows(predictions, manifest)
    if settings.method != "none":
        predictions = _by_back_end(predictions, manifest, rows, settings)
    if predictions.posterior is None:
        return replace(predictions, embedding=None)
    labels, where, fitted_on = manifest.labels, f"rebalancing.{predictions.expert}", predictions.fitted_on
    posterior, training_prior = _without_pseudo_labels(predictions, predictions.posterior, labels)
    if settings.calibration == "temperature":
        on = settings.temperature.on
        posterior = _calibrated(posterior, training_prior, manifest, rows, f"{where}.temperature", on)
        fitted_on = _extended(fitted_on, on, manifest)
    if settings.prior == "none":
        target_prior, same = training_prior, np.ones(len(labels))
        posterior = prior.rebalance(posterior, training_prior=same, target_prior=same)
    elif training_prior is None:
        raise InputError(
            f"{where}.prior is {settings.prior!r}, but the expert's predictions hold no training prior; expected 'none'"
        )
    else:
        target_prior = _target_prior(posterior, training_prior, manifest, rows, where, settings)
        posterior = prior.rebalance(posterior, training_prior, target_prior)
        if settings.prior == "development":
            fitted_on = _extended(fitted_on, DEVELOPMENT, manifest)
    return replace(
        predictions,
        labels=labels,
        posterior=posterior,
        training_prior=target_prior,
        embedding=None,
        fitted_on=fitted_on,
    )


def _rows(predictions: Predictions, manifest: Manifest) -> np.ndarray:
    """Return each predicted utterance's row in the manifest, int64, shape ``(n,)``."""
    row_of = {name: row for row, name in enumerate(manifest.ids)}
    unknown = [name for name in predictions.utterance_ids if name not in row_of]
    if unknown:
        raise InputError(
            f"expert {predictions.expert!r} predicts {len(unknown)} utterances that the manifest lacks,"
            f" {unknown[0]!r} first (was the corpus stage run again after fine-tuning?)"
        )
    return np.array([row_of[name] for name in predictions.utterance_ids], dtype=np.int64)


def _by_back_end(
    predictions: Predictions, manifest: Manifest, rows: np.ndarray, settings: RebalancingSettings
) -> Predictions:
    """Return the predictions with the posterior of a back end fitted on the labelled utterances of train."""
    where = f"rebalancing.{predictions.expert}.method is {settings.method!r}"
    if predictions.posterior is None:
        raise InputError(f"{where}, but the expert predicts attributes only; expected 'none'")
    if predictions.embedding is None:
        raise InputError(f"{where}, but the expert's predictions hold no embeddings; expected 'none'")
    truth = manifest.truth()[rows]
    fitting = manifest.mask(TRAIN)[rows] & (truth >= 0)
    unseen = [label for k, label in enumerate(manifest.labels) if not (truth[fitting] == k).any()]
    if unseen:
        raise InputError(f"{where}, but {TRAIN} has no utterance labelled {unseen} among the expert's")
    back_end = BackEnd(getattr(settings, settings.method)).fit(predictions.embedding[fitting], truth[fitting])
    return replace(
        predictions,
        labels=manifest.labels,
        posterior=back_end.predict_proba(predictions.embedding),
        training_prior=back_end.prior_,
    )


def _without_pseudo_labels(
    predictions: Predictions, posterior: np.ndarray, labels: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the posterior's columns of ``labels`` in that order, not yet summing to 1, and their training prior."""
    expert = predictions.expert
    missing = [label for label in labels if label not in predictions.labels]
    if missing:
        raise InputError(f"expert {expert!r} has no output for {missing}; it was trained on {list(predictions.labels)}")
    unknown = [label for label in predictions.labels if label not in (*labels, *PSEUDO)]
    if unknown:
        raise InputError(f"expert {expert!r} predicts {unknown}, the manifest's labels are {list(labels)}")
    order = [predictions.labels.index(label) for label in labels]
    training_prior = predictions.training_prior
    if training_prior is not None:
        training_prior = training_prior[order]
        if not training_prior.sum() > 0:
            raise InputError(f"expert {expert!r} was trained on none of {list(labels)}")
        training_prior = training_prior / training_prior.sum()
    return posterior[:, order], training_prior


def _calibrated(
    posterior: np.ndarray,
    training_prior: np.ndarray | None,
    manifest: Manifest,
    rows: np.ndarray,
    where: str,
    on: str,
) -> np.ndarray:
    """Return the tempered posterior, shape ``(n, n_labels)``; the temperature and its effect are printed."""
    inside = manifest.mask(on)
    held_out = sorted({split for split in manifest.frame["split"][inside] if split.startswith(TEST)})
    if held_out:
        raise InputError(
            f"{where}.on is {on!r}, which shares utterances with {held_out}; expected development data only"
        )
    truth = manifest.truth()[rows]
    contained = np.full(len(manifest.labels), 1 / len(manifest.labels)) if training_prior is None else training_prior
    labelled = inside[rows] & (truth >= 0) & (contained[truth] > 0)
    if not labelled.any():
        raise InputError(
            f"{where}.on is {on!r}, of which the expert predicts no utterance with a label it was trained on"
        )
    truth = truth[labelled]
    weights = np.ones(len(truth)) if training_prior is None else temperature.weights_of(truth, training_prior)
    fitted = temperature.fit(posterior[labelled], contained, truth, weights)
    print(
        f"{where}: {fitted.temperature:.6g}, fitted on {len(truth)} utterances of {on!r}, whose weighted negative"
        f" log-likelihood it moves from {fitted.before:.6f} to {fitted.after:.6f}"
    )
    if fitted.at_bound:
        print(
            f"warning: {where}: {fitted.temperature:g} is an end of its range (does {on!r} hold too few utterances,"
            " does the expert get all of them right, or none better than its prior does?)"
        )
    return temperature.temper(posterior, contained, fitted.temperature)


def _target_prior(
    posterior: np.ndarray,
    training_prior: np.ndarray,
    manifest: Manifest,
    rows: np.ndarray,
    where: str,
    settings: RebalancingSettings,
) -> np.ndarray:
    """Return the prior that the posterior is to contain, in the manifest's order of labels, shape ``(n_labels,)``."""
    labels = manifest.labels
    match settings.prior:
        case "given":
            if set(settings.given) != set(labels):
                raise InputError(f"{where}.given names {sorted(settings.given)}, expected exactly {list(labels)}")
            target_prior = np.array([settings.given[label] for label in labels], dtype=np.float64)
        case "development":
            truth = manifest.truth()[manifest.mask(DEVELOPMENT)]
            target_prior = np.bincount(truth[truth >= 0], minlength=len(labels)).astype(np.float64)
            if not target_prior.sum():
                raise InputError(f"{where}.prior is 'development', but no utterance of {DEVELOPMENT!r} has a label")
        case _:
            target_prior = np.ones(len(labels))
    unseen = [label for k, label in enumerate(labels) if training_prior[k] <= 0 < target_prior[k]]
    if unseen:
        raise InputError(f"{where}.prior is {settings.prior!r}, but {unseen} have no training example")
    if settings.prior == "em":
        unlabelled = manifest.mask(settings.em.on)[rows]
        return _estimated(posterior[unlabelled], training_prior, labels, f"{where}.em", settings.em)
    return target_prior / target_prior.sum()


def _estimated(
    posterior: np.ndarray, training_prior: np.ndarray, labels: tuple[str, ...], where: str, em: EmSettings
) -> np.ndarray:
    """Return the prior by EM on these utterances, shape ``(n_labels,)``; its shares are printed."""
    if not len(posterior):
        raise InputError(f"{where}.on is {em.on!r}, of which the expert predicts no utterance")
    result = estimate(posterior, training_prior, em.iterations, em.tolerance, em.smoothing)
    if not result.converged:
        print(
            f"warning: {where}: after {result.iterations} iterations a share still moves by {result.change:.1e},"
            f" expected {em.tolerance:.1e}; raise {where}.iterations"
        )
    print(f"{where}: {', '.join(f'{label} {share:.3f}' for label, share in zip(labels, result.prior))}")
    lost = [label for label, share in zip(labels, result.prior) if share < LOST / len(labels)]
    if lost:
        print(
            f"warning: {where}: almost no share is left to {lost} (are they absent from {em.on!r}, or does the expert"
            f" tell them apart too poorly for an estimate? {where}.smoothing holds it back)"
        )
    return result.prior


def _extended(fitted_on: tuple[str, ...], name: str, manifest: Manifest) -> tuple[str, ...]:
    """Return ``fitted_on`` extended by a split or subset and every subset that shares an utterance with it."""
    subsets = manifest.frame["subsets"][manifest.mask(name)]
    return tuple(dict.fromkeys([*fitted_on, name, *sorted({subset for row in subsets for subset in row})]))
