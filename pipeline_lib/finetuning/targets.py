"""Targets of an expert; checked before a model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.experts import availability
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.finetuning import votes
from pipeline_lib.labels import GENDERS, PSEUDO, indices
from pipeline_lib.metrics.attributes import RANGES, to_scale
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.provenance import UNKNOWN, Provenance
from pipeline_lib.tables.truth import Labels, labels_of


@dataclass(frozen=True)
class Targets:
    """Targets of the training, one row an utterance of the manifest.

    Attributes:
        labels: those trained on, the corpus's first, then O and X where they are trained on and occur in train
        n_scored: how many of them are the corpus's
        emotion: label indices, int64, shape ``(n,)``, -1 where missing; of the consensus, with soft labels too
        attribute_names: in order
        attributes: on the trained range, float32, shape ``(n, n_attributes)``, NaN where missing
        scale: of the corpus
        range: lowest and highest trained value
        soft: with soft labels, distributions over ``labels``, float32, shape ``(n, n_labels)``, zeros where missing
        votes: with soft labels, the annotators' votes that they are of, float64, shape ``(n, n_labels)``
        voted: with soft labels, whether annotators' votes themselves are known, bool, shape ``(n,)``
        gender: where it is trained, index in ``labels.GENDERS``, int64, shape ``(n,)``, -1 where missing
        sentiment: where it is trained, 0 negative, 1 neutral, 2 positive, int64, shape ``(n,)``, -1 where missing
        classes: labels that a balanced sampler evens out: those trained, or where none are, the corpus's; int64, shape
            ``(n,)``, -1 where missing
        read: the splits whose labels these are; utterances of others have no target
    """

    labels: tuple[str, ...]
    n_scored: int
    emotion: np.ndarray
    attribute_names: tuple[str, ...]
    attributes: np.ndarray
    scale: tuple[float, float]
    range: tuple[float, float]
    soft: np.ndarray | None = None
    votes: np.ndarray | None = None
    voted: np.ndarray | None = None
    gender: np.ndarray | None = None
    sentiment: np.ndarray | None = None
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    read: Provenance = UNKNOWN

    def known(self) -> np.ndarray:
        """Return which utterances have any target, bool, shape ``(n,)``."""
        known = (self.emotion >= 0) | np.isfinite(self.attributes).any(axis=1)
        if self.soft is not None:
            known = known | self.soft.any(axis=1)
        for further in (self.gender, self.sentiment):
            known = known if further is None else known | (further >= 0)
        return known

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the targets of the losses by the names of ``losses.combined``, first axis of shape ``(n,)``."""
        arrays = {"emotion": self.emotion if self.soft is None else self.soft, "attributes": self.attributes}
        further = {"gender": self.gender, "sentiment": self.sentiment}
        return arrays | {name: values for name, values in further.items() if values is not None}

    def on_scale(self, attributes: np.ndarray) -> np.ndarray:
        """Return trained values on the corpus's scale, float64; they are not clipped.

        Args:
            attributes: on the trained range, shape ``(n, n_attributes)``

        Returns:
            of the same shape
        """
        return to_scale(attributes, self.range, self.scale)


def targets_of(corpus: Manifest, settings: FinetuningSettings) -> Targets:
    """Return the labels and attributes of train, to fit on, and of dev, to choose the epoch on, as they are trained.

    Attributes are mapped from the corpus's scale to [-1, 1] or [0, 1]. CCC changes when one of truth and prediction is
    mapped and the other not: predictions are mapped back before they are scored or written.

    Args:
        corpus: the manifest
        settings: the entry
    """
    options = settings.targets
    has_dev = (corpus.frame["split"] == "dev").any()  # without it ``check_data`` refuses the corpus
    read = labels_of(corpus, fit=["train"], choose=["dev"] if has_dev else [])
    in_train = {emotion for emotion, inside in zip(read.emotions(), corpus.mask("train"), strict=True) if inside}
    pseudo = tuple(label for label in PSEUDO if options.pseudo_labels and label in in_train)
    labels, soft = (*corpus.labels, *pseudo) if options.emotion else (), None
    cast, voted = None, None
    if options.soft_labels:
        labels, cast = votes.trained_votes(read, pseudo_labels=options.pseudo_labels)
        soft, voted = votes.shares(cast), np.asarray(votes.vote_counts(read, labels).any(axis=1))
    bounds = RANGES[options.attribute_range]
    names = tuple(options.attributes)
    values = to_scale(read.values(names), corpus.attribute_scale, bounds)
    return Targets(
        labels=labels,
        n_scored=len(corpus.labels) if labels else 0,
        emotion=read.classes(labels),
        attribute_names=names,
        attributes=values.astype(np.float32).reshape(len(corpus), len(names)),
        scale=corpus.attribute_scale,
        range=bounds,
        soft=soft,
        votes=cast,
        voted=voted,
        gender=indices(corpus.frame["gender"].tolist(), GENDERS) if options.gender else None,
        sentiment=_sentiment(read, settings) if options.sentiment.enabled else None,
        classes=read.classes(labels or None),
        read=read.record,
    )


def sentiments(valence: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Return 0, 1 or 2 for negative, neutral and positive, int64, shape ``(n,)``, -1 where the valence is missing.

    Chochlakis et al. name the "thresholds 3 and 5" and not which side they belong to: here up to the first is negative,
    from the second on positive.

    Args:
        valence: on the corpus's scale, shape ``(n,)``, NaN where missing
        thresholds: highest negative, lowest positive
    """
    classes = np.select([valence <= thresholds[0], valence >= thresholds[1]], [0, 2], default=1)
    return np.where(np.isnan(valence), -1, classes).astype(np.int64)


def _sentiment(read: Labels, settings: FinetuningSettings) -> np.ndarray:
    return sentiments(read.values(["valence"])[:, 0], settings.targets.sentiment.thresholds)


def check_data(
    corpus: Manifest, targets: Targets, settings: FinetuningSettings, utterances: Utterances
) -> tuple[np.ndarray, np.ndarray]:
    """Return the manifest's rows to train on and to develop on, shapes ``(n_train,)`` and ``(n_dev,)``.

    Args:
        corpus: the manifest
        targets: of all its rows
        settings: the entry
        utterances: the same rows as the expert reads them

    Raises:
        InputError: the corpus lacks something that the settings name
    """
    usable = np.logical_or.reduce(utterances.present, axis=1)
    if not usable.any():
        read = " or ".join(utterances.modalities)
        raise InputError(
            f"{corpus.corpus} has no utterance with {read}, which the expert reads; train one of what the corpus has"
            f" (modality is {settings.modality!r})"
        )
    train = np.flatnonzero(corpus.mask("train") & targets.known() & usable)
    _check_beyond_consensus(corpus, targets, train)
    known = targets.emotion[train][targets.emotion[train] >= 0]
    counts = np.bincount(known, minlength=len(targets.labels)) if targets.soft is None else targets.soft[train].sum(0)
    unseen = [label for label, count in zip(targets.labels, counts) if count == 0]
    if unseen:
        raise InputError(f"{corpus.corpus} has no training example of {unseen}; fix the corpus's labels or its splits")
    for i, name in enumerate(targets.attribute_names):
        if np.isfinite(targets.attributes[train, i]).sum() < 2:
            raise InputError(f"{corpus.corpus} has no {name} in its training split; leave it out of targets.attributes")
    smallest = min(phase.batch_size for phase in settings.phases.values())
    if len(train) < 2:
        raise InputError(f"{corpus.corpus} has {len(train)} utterances to train on, expected at least {smallest}")
    if any(phase.sampler != "natural" for phase in settings.phases.values()):
        _check_balance(corpus, targets, train)
    _check_passes(corpus, targets, settings, utterances, train)
    return train, _development(corpus, targets, settings, usable)


def _development(corpus: Manifest, targets: Targets, settings: FinetuningSettings, usable: np.ndarray) -> np.ndarray:
    """Return the rows that early stopping measures on."""
    dev = corpus.mask("dev") & usable
    metric = settings.early_stopping.metric
    if not (dev & _measurable(targets, settings)).any():
        what = "attributes" if metric == "mean_ccc" else "labels"
        raise InputError(f"the split 'dev' of {corpus.corpus} has no {what}, early stopping measures {metric!r} on it")
    return np.flatnonzero(dev & targets.known())


def _measurable(targets: Targets, settings: FinetuningSettings) -> np.ndarray:
    """Return which utterances the metric of early stopping could be measured on, shape ``(n,)``."""
    scored = (targets.emotion >= 0) & (targets.emotion < targets.n_scored)
    complete = np.isfinite(targets.attributes).any(axis=1)
    has = {"macro_f1": scored, "ua": scored, "mean_ccc": complete, "loss": targets.known()}
    return has[settings.early_stopping.metric]


def _check_passes(
    corpus: Manifest, targets: Targets, settings: FinetuningSettings, utterances: Utterances, train: np.ndarray
) -> None:
    """Refuse phases and measurements without an utterance; a combination among others may have none."""
    dev = corpus.mask("dev") & _measurable(targets, settings)
    present, modalities = utterances.present, utterances.modalities
    for name, phase in settings.phases.items():
        passes = settings.passes_of(phase)
        if not passes:
            continue
        taking = int(availability.takes_part(present[train], modalities, passes).sum())
        if taking < 2:
            raise InputError(
                f"{corpus.corpus} has {taking} utterances in train that phase {name!r} with passes {passes} could be"
                " trained on; expected at least 2"
            )
        measured = availability.measured_combinations(settings.early_stopping.shown, passes)
        if not (dev & availability.takes_part(present, modalities, measured)).any():
            raise InputError(
                f"{corpus.corpus} has no utterance in 'dev' with {' or '.join(measured)}, which early stopping is"
                f" measured on in phase {name!r}; set early_stopping.shown to what it has"
            )


def _check_beyond_consensus(corpus: Manifest, targets: Targets, train: np.ndarray) -> None:
    if targets.voted is not None and not targets.voted[train].any():
        raise InputError(
            f"{corpus.corpus} has no annotators' votes for {list(targets.labels)} in its training split; set"
            " targets.soft_labels to false"
        )
    if targets.sentiment is not None and not (targets.sentiment[train] >= 0).any():
        raise InputError(
            f"{corpus.corpus} has no valence in its training split, off which the sentiment is read; set"
            " targets.sentiment.enabled to false"
        )
    if targets.gender is not None:
        unseen = [gender for i, gender in enumerate(GENDERS) if not (targets.gender[train] == i).any()]
        if unseen:
            raise InputError(
                f"{corpus.corpus} has no utterance of gender {unseen} in its training split; set targets.gender to"
                " false"
            )


def _check_balance(corpus: Manifest, targets: Targets, train: np.ndarray) -> None:
    classes = targets.classes[train]
    unseen = [label for i, label in enumerate(targets.labels or corpus.labels) if not (classes == i).any()]
    if unseen:
        raise InputError(
            f"samplers 'balanced' and 'annealed' need an example of every label, {corpus.corpus} has none of {unseen}"
            " in train"
        )
