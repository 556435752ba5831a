"""Fit an entry: its posterior's method, without O and X, its temperature, and the target prior.

In three steps, each of which may do nothing. *Method*: the expert's own posterior, or LDA and logistic regression or
PLDA on its embeddings or on the layers of a stored embedding, fitted on train without O and X. *Calibration*: a
temperature on its evidence (``temperature.temper``), which leaves the prior that it contains. *Prior*: the training
prior is divided out and the target prior multiplied in (``prior.rebalance``). PLDA's posterior contains a uniform
prior, so that a uniform target prior changes nothing there.

With ``refit`` the back end is fitted on train and dev together, after dev has chosen its layer where it does.

Afterwards the labels are the manifest's, in its order. O and X are removed, their share goes to the others in
proportion. An expert's attributes pass through, those of a stored embedding are ridge regressions on the same vectors;
embeddings do not pass, no later stage reads them.
"""

from dataclasses import replace

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.rebalancing import EmSettings, RebalancingSettings
from pipeline_lib.rebalancing import layers, temperature
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.em import estimate
from pipeline_lib.rebalancing.model import Model, apply, contained, evidence
from pipeline_lib.rebalancing.source import Layers, Source, of_predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from pipeline_lib.tables.truth import Labels, labels_of

TRAIN, DEVELOPMENT = "train", "dev"
LOST = 0.05  # of an even share: less is worth a warning


def rebalance(predictions: Predictions, manifest: Manifest, settings: RebalancingSettings) -> Predictions:
    """Return an expert's predictions with the posterior of the chosen method under the target prior.

    Args:
        predictions: of one expert, as fine-tuning wrote them; its name is the entry's
        manifest: labels and splits; every predicted utterance is in it
        settings: method, calibration and prior

    Raises:
        InputError: see ``fit``
    """
    source = of_predictions(predictions)
    return apply(fit(source, manifest, settings, predictions.expert), source)


def fit(source: Source, manifest: Manifest, settings: RebalancingSettings, name: str) -> Model:
    """Return what an entry fits on its source.

    Args:
        source: an expert's predictions, or a stored embedding
        manifest: labels and splits; every utterance of the source is in it
        settings: method, calibration and prior
        name: of the entry

    Returns:
        the model; its ``provenance`` is that of the source, and the sets where a back end or temperature was fitted, a
        prior counted or a layer chosen. EM reads no labels and is not recorded, though the prior then fits those very
        utterances.

    Raises:
        InputError: the method or calibration needs embeddings or labels that are not there or not to be read, a label
            was never trained on, the given prior names other labels, or an utterance is unknown to the manifest
    """
    rows, where = source.rows(manifest), f"rebalancing.{name}"
    model = Model(name, settings, manifest.labels, provenance=source.predictions.provenance)
    if settings.method != "none":
        model = _with_back_ends(model, source, manifest, rows)
    elif source.predictions.posterior is None:
        return model
    posterior, training_prior = evidence(model, source)
    model = replace(model, training_prior=training_prior)
    if settings.calibration == "temperature":
        options, on = settings.temperature, f"{where}.temperature.on"
        read = labels_of(manifest, fit=[options.on], where=on, allow_test=options.allow_test_tuning)
        fitted = _temperature(posterior, model, read.classes()[rows], f"{where}.temperature", options.on)
        posterior = temperature.temper(posterior, contained(model), fitted)
        model = _recording(replace(model, temperature=fitted), read)
    if settings.prior == "none":
        return model
    if training_prior is None:
        raise InputError(
            f"{where}.prior is {settings.prior!r}, but the expert's predictions hold no training prior; expected 'none'"
        )
    if settings.prior == "development":
        read = labels_of(manifest, fit=[DEVELOPMENT])
        shares, model = _shares(read.classes(), len(manifest.labels), where), _recording(model, read)
    else:
        shares = _shares_named(manifest.labels, where, settings)
    target_prior = _target_prior(shares, posterior, training_prior, manifest, rows, where, settings)
    return replace(model, target_prior=target_prior)


def _with_back_ends(model: Model, source: Source, manifest: Manifest, rows: np.ndarray) -> Model:
    """Return the model with back ends, and of an embedding regressions, fitted on what is labelled of train or both."""
    settings, read = model.settings, model.settings.source
    where = f"rebalancing.{model.name}"
    if read is None:
        _refuse_without_embedding(source.predictions, f"{where}.method is {settings.method!r}")
    read_labels = labels_of(manifest, fit=[TRAIN])
    truth, model = read_labels.classes()[rows], _recording(model, read_labels)
    fitting = truth >= 0
    unseen = [label for k, label in enumerate(manifest.labels) if not (truth[fitting] == k).any()]
    if unseen:
        raise InputError(
            f"{where}.method is {settings.method!r}, but {TRAIN} has no utterance labelled {unseen} among the"
            f" {'expert' if read is None else 'embedding'}'s"
        )

    def fitted(together: Layers) -> BackEnd:
        return BackEnd(getattr(settings, settings.method)).fit(source.vectors(together)[fitting], truth[fitting])

    every: list[Layers] = [()] if read is None else layers.read_together(read, source)
    if read is not None and read.layers == layers.BEST:
        of_dev = labels_of(manifest, choose=[DEVELOPMENT])
        on_rows = of_dev.classes()[rows]
        layers.refuse_without_labels(on_rows >= 0, where)
        tried = {together: fitted(together) for together in every}
        on_dev = layers.scores_on(on_rows >= 0, tried, source, on_rows, len(manifest.labels))
        chosen = layers.best(on_dev, where)
        model, every = _recording(replace(model, back_ends={chosen: tried[chosen]}, on_dev=on_dev), of_dev), [chosen]
    if settings.refit:
        read_labels = labels_of(manifest, fit=[TRAIN, DEVELOPMENT])
        truth, model = read_labels.classes()[rows], _recording(model, read_labels)
        fitting = truth >= 0
    if settings.refit or not model.back_ends:
        model = replace(model, back_ends={together: fitted(together) for together in every})
    if read is None:
        return model
    values = {name: read_labels.values([name])[:, 0][rows] for name in ATTRIBUTES}
    return replace(model, regressions=layers.regressions(every, source, values, read_labels.inside[rows], read.ridge))


def _recording(model: Model, read: Labels) -> Model:
    """Return the model with the record of labels that it depends on besides."""
    return replace(model, provenance=Provenance.joined([model.provenance, read.record]))


def _refuse_without_embedding(predictions: Predictions, where: str) -> None:
    if predictions.posterior is None:
        raise InputError(f"{where}, but the expert predicts attributes only; expected 'none'")
    if predictions.embedding is None:
        raise InputError(f"{where}, but the expert's predictions hold no embeddings; expected 'none'")


def _temperature(posterior: np.ndarray, model: Model, truth: np.ndarray, where: str, on: str) -> float:
    """Return the temperature that fits the labels of a set; it and its effect are printed.

    Args:
        posterior: of the method, shape ``(n, n_labels)``
        model: with its training prior
        truth: label indices of the set, shape ``(n,)``, -1 elsewhere
        where: dotted name of the calibration
        on: the set
    """
    training_prior = contained(model)
    labelled = (truth >= 0) & (training_prior[truth] > 0)
    if not labelled.any():
        raise InputError(
            f"{where}.on is {on!r}, of which the expert predicts no utterance with a label it was trained on"
        )
    truth = truth[labelled]
    is_known = model.training_prior is not None
    weights = temperature.weights_of(truth, training_prior) if is_known else np.ones(len(truth))
    fitted = temperature.fit(posterior[labelled], training_prior, truth, weights)
    print(
        f"{where}: {fitted.temperature:.6g}, fitted on {len(truth)} utterances of {on!r}, whose weighted negative"
        f" log-likelihood it moves from {fitted.before:.6f} to {fitted.after:.6f}"
    )
    if fitted.at_bound:
        print(
            f"warning: {where}: {fitted.temperature:g} is an end of its range (does {on!r} hold too few utterances,"
            " does the expert get all of them right, or none better than its prior does?)"
        )
    return fitted.temperature


def _shares(truth: np.ndarray, n_labels: int, where: str) -> np.ndarray:
    """Return how many utterances of the development data have each label, shape ``(n_labels,)``."""
    counts = np.bincount(truth[truth >= 0], minlength=n_labels).astype(np.float64)
    if not counts.sum():
        raise InputError(f"{where}.prior is 'development', but no utterance of {DEVELOPMENT!r} has a label")
    return counts


def _shares_named(labels: tuple[str, ...], where: str, settings: RebalancingSettings) -> np.ndarray:
    """Return the shares that the settings name, of the same size where they name none, shape ``(n_labels,)``."""
    if settings.prior != "given":
        return np.ones(len(labels))
    if set(settings.given) != set(labels):
        raise InputError(f"{where}.given names {sorted(settings.given)}, expected exactly {list(labels)}")
    return np.array([settings.given[label] for label in labels], dtype=np.float64)


def _target_prior(
    target_prior: np.ndarray,
    posterior: np.ndarray,
    training_prior: np.ndarray,
    manifest: Manifest,
    rows: np.ndarray,
    where: str,
    settings: RebalancingSettings,
) -> np.ndarray:
    """Return the prior that the posterior is to contain, in the manifest's order of labels, shape ``(n_labels,)``."""
    labels = manifest.labels
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
