"""Make an expert's posterior anew: by a back end on its embeddings or as it is, without O and X, under a chosen prior.

In three steps, each of which may do nothing. *Method*: the expert's own posterior, or LDA and logistic regression or
PLDA on its embeddings, fitted on train without O and X. *Calibration*: a temperature on its evidence
(``temperature.temper``), which leaves the prior that it contains. *Prior*: that one is divided out and the expected one
multiplied in (``prior.rebalance``). PLDA's posterior contains a uniform prior, so that a uniform one changes nothing
there.

Afterwards the labels are the manifest's, in its order. O and X are removed, their share goes to the others in
proportion. Attributes pass through; embeddings do not, no later stage reads them.
"""

from dataclasses import replace

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.rebalancing import TEST, RebalancingSettings
from pipeline_lib.rebalancing import prior, temperature
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.em import estimate
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

TRAIN, DEVELOPMENT = "train", "dev"
LOST = 0.05  # of an even share: so little is worth a word


def rebalance(predictions: Predictions, manifest: Manifest, settings: RebalancingSettings) -> Predictions:
    """Return the expert's predictions with the posterior of the chosen method under the chosen prior.

    Args:
        predictions: of one expert, as fine-tuning wrote them
        manifest: labels and splits; every predicted utterance is in it
        settings: method, calibration and prior

    Returns:
        labels as in the manifest; ``trained_prior`` is the prior that the posterior now contains; ``fitted_on`` is
        extended by the set where a temperature was fitted or a prior counted, and by the subsets that share utterances
        with it. EM reads no labels and extends nothing, though the prior then fits those very utterances.

    Raises:
        InputError: the method or calibration needs embeddings or labels that are not there or not to be read, a label
            was never trained on, the given prior names other labels, or an utterance is unknown to the manifest
    """
    rows = _rows(predictions, manifest)
    if settings.method != "none":
        predictions = _by_back_end(predictions, manifest, rows, settings)
    elif predictions.posterior is None:
        return replace(predictions, embedding=None)
    predictions = replace(_without_pseudo_labels(predictions, manifest.labels), embedding=None)
    if settings.calibration == "temperature":
        predictions = _calibrated(predictions, manifest, rows, settings.temperature.on)
    if settings.prior == "none":
        same = np.ones(len(manifest.labels))
        return replace(predictions, posterior=prior.rebalance(predictions.posterior, trained=same, expected=same))
    expected = _wanted(predictions, manifest, rows, settings)
    posterior = prior.rebalance(predictions.posterior, predictions.trained_prior, expected)
    fitted_on = predictions.fitted_on
    if settings.prior == "development":
        fitted_on = _extended(fitted_on, DEVELOPMENT, manifest)
    return replace(predictions, posterior=posterior, trained_prior=expected, fitted_on=fitted_on)


def _rows(predictions: Predictions, manifest: Manifest) -> np.ndarray:
    """Return each predicted utterance's row in the manifest."""
    places = {each: i for i, each in enumerate(manifest.ids)}
    unknown = [each for each in predictions.utterance_ids if each not in places]
    if unknown:
        raise InputError(
            f"expert {predictions.expert!r} predicts {len(unknown)} utterances that the manifest lacks,"
            f" {unknown[0]!r} first (was the corpus stage run again after fine-tuning?)"
        )
    return np.array([places[each] for each in predictions.utterance_ids], dtype=np.int64)


def _by_back_end(
    predictions: Predictions, manifest: Manifest, rows: np.ndarray, settings: RebalancingSettings
) -> Predictions:
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
        trained_prior=back_end.prior_,
    )


def _without_pseudo_labels(predictions: Predictions, labels: tuple[str, ...]) -> Predictions:
    """Return the posterior's columns of ``labels`` in that order, not yet summing to 1, and their training prior."""
    expert = predictions.expert
    missing = [label for label in labels if label not in predictions.labels]
    if missing:
        raise InputError(f"expert {expert!r} has no output for {missing}; it was trained on {list(predictions.labels)}")
    strange = [label for label in predictions.labels if label not in (*labels, *PSEUDO)]
    if strange:
        raise InputError(f"expert {expert!r} predicts {strange}, the manifest's labels are {list(labels)}")
    order = [predictions.labels.index(label) for label in labels]
    trained = predictions.trained_prior
    if trained is not None:
        trained = trained[order]
        if not trained.sum() > 0:
            raise InputError(f"expert {expert!r} was trained on none of {list(labels)}")
        trained = trained / trained.sum()
    return replace(predictions, labels=labels, posterior=predictions.posterior[:, order], trained_prior=trained)


def _calibrated(predictions: Predictions, manifest: Manifest, rows: np.ndarray, on: str) -> Predictions:
    """Return the predictions with the posterior tempered, and say by how much."""
    where = f"rebalancing.{predictions.expert}.temperature"
    inside = manifest.mask(on)
    held_out = sorted({each for each in manifest.frame["split"][inside] if each.startswith(TEST)})
    if held_out:
        raise InputError(
            f"{where}.on is {on!r}, which shares utterances with {held_out}; expected development data only"
        )
    trained, truth = predictions.trained_prior, manifest.truth()[rows]
    contained = np.full(len(manifest.labels), 1 / len(manifest.labels)) if trained is None else trained
    labelled = inside[rows] & (truth >= 0) & (contained[truth] > 0)
    if not labelled.any():
        raise InputError(
            f"{where}.on is {on!r}, of which the expert predicts no utterance with a label it was trained on"
        )
    truth, posterior = truth[labelled], predictions.posterior[labelled]
    weights = np.ones(len(truth)) if trained is None else temperature.weights_of(truth, trained)
    found = temperature.fit(posterior, contained, truth, weights)
    print(
        f"{where}: {found.temperature:.6g}, fitted on {len(truth)} utterances of {on!r}, whose weighted negative"
        f" log-likelihood it moves from {found.before:.6f} to {found.after:.6f}"
    )
    if found.at_bound:
        print(
            f"warning: {where}: {found.temperature:g} is an end of its range (does {on!r} hold too few utterances, does"
            " the expert get all of them right, or none better than its prior does?)"
        )
    tempered = temperature.temper(predictions.posterior, contained, found.temperature)
    return replace(predictions, posterior=tempered, fitted_on=_extended(predictions.fitted_on, on, manifest))


def _wanted(
    predictions: Predictions, manifest: Manifest, rows: np.ndarray, settings: RebalancingSettings
) -> np.ndarray:
    """Return the prior that the posterior is to contain, in the manifest's order of labels."""
    labels, trained = manifest.labels, predictions.trained_prior
    where = f"rebalancing.{predictions.expert}"
    if trained is None:
        raise InputError(
            f"{where}.prior is {settings.prior!r}, but the expert does not say which prior it was trained under;"
            " expected 'none'"
        )
    match settings.prior:
        case "given":
            if set(settings.given) != set(labels):
                raise InputError(f"{where}.given names {sorted(settings.given)}, expected exactly {list(labels)}")
            expected = np.array([settings.given[label] for label in labels], dtype=np.float64)
        case "development":
            truth = manifest.truth()[manifest.mask(DEVELOPMENT)]
            expected = np.bincount(truth[truth >= 0], minlength=len(labels)).astype(np.float64)
            if not expected.sum():
                raise InputError(f"{where}.prior is 'development', but no utterance of {DEVELOPMENT!r} has a label")
        case _:
            expected = np.ones(len(labels))
    unseen = [label for k, label in enumerate(labels) if trained[k] <= 0 < expected[k]]
    if unseen:
        raise InputError(f"{where}.prior is {settings.prior!r}, but {unseen} have no training example")
    if settings.prior == "em":
        return _estimated(predictions, manifest.mask(settings.em.on)[rows], settings)
    return expected / expected.sum()


def _estimated(predictions: Predictions, unlabelled: np.ndarray, settings: RebalancingSettings) -> np.ndarray:
    where = f"rebalancing.{predictions.expert}.em"
    if not unlabelled.any():
        raise InputError(f"{where}.on is {settings.em.on!r}, of which the expert predicts no utterance")
    em, labels = settings.em, predictions.labels
    posterior = predictions.posterior[unlabelled]
    found = estimate(posterior, predictions.trained_prior, em.iterations, em.tolerance, em.smoothing)
    if not found.converged:
        print(
            f"warning: {where}: after {found.iterations} iterations a share still moves by {found.change:.1e},"
            f" expected {em.tolerance:.1e}; raise {where}.iterations"
        )
    print(f"{where}: {', '.join(f'{label} {share:.3f}' for label, share in zip(labels, found.prior))}")
    lost = [label for label, share in zip(labels, found.prior) if share < LOST / len(labels)]
    if lost:
        print(
            f"warning: {where}: almost no share is left to {lost} (are they absent from {em.on!r}, or does the expert"
            f" tell them apart too poorly for an estimate? {where}.smoothing holds it back)"
        )
    return found.prior


def _extended(fitted_on: tuple[str, ...], name: str, manifest: Manifest) -> tuple[str, ...]:
    """Return ``fitted_on`` with that split or subset and every subset that shares an utterance with it."""
    subsets = manifest.frame["subsets"][manifest.mask(name)]
    return tuple(dict.fromkeys([*fitted_on, name, *sorted({each for row in subsets for each in row})]))
